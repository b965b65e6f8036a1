"""The text of `python -m jaxgen --help`, made from the table and the specs, which it cannot fall
behind.
"""

import dataclasses
import enum
import textwrap

from jaxgen.config.table import GROUPS, OPTIONS, PLAIN_SLOTS, conf_dir

_INTRODUCTION = """\
jaxgen measures two ways to run a transformer language model in JAX and answers one question:
is the candidate really faster than the baseline here, by how much, \
how sure is that, and are its outputs still right?

usage:
  python -m jaxgen [GROUP=OPTION ...] [KEY=VALUE ...]      compare the candidate with the baseline
  python -m jaxgen -m GROUP=OPTION,OPTION ...              one run for each combination
  python -m jaxgen [...] --cfg job                         show the configuration and stop

The command line is the candidate. The baseline is the same with what `baseline` \
replaces: by default, no KV cache.
Results go to runs/<date>/<time>_<name>/.
"""

_EXAMPLES = """\
examples:
  python -m jaxgen                                         a fixed cache \
against none, on the embedded model
  python -m jaxgen cache=fixed baseline.cache=dynamic      a fixed cache against one that grows
  python -m jaxgen baseline=same baseline.jit=partial      the same cache; \
jit once against jit at every call
  python -m jaxgen model=hf model.source=DIR prompts=text "prompts.text='Once upon a time'"
  python -m jaxgen -m measure=quick dtype=float32,bfloat16 workload.batch_size=1,4,16

flags: -m, --multirun; --cfg job|hydra|all [--resolve] [-p KEY]; --config-dir DIR \
(a folder of your own YAML files);
       --info; --version; --hydra-help (about Hydra itself)
exit codes: 0 done, 1 cannot be done as asked, 10 a gate found a regression, \
20 the measurement is invalid,
            30 an arm failed, 130 interrupted
"""


_EXPERIMENTS = (
    "experiments (none is the default; experiment=NAME sets several groups and keys at once):"
)
_DEFAULTS = (
    "keys (with their defaults, of several words the first; "
    "else null, empty or in the option's file):"
)


def help_text() -> str:
    """Return what jaxgen does, every group and key with its default, and examples."""
    groups = [_row(group, ", ".join(options)) for group, options in GROUPS.items()]
    keys = []
    for name, group, spec in _owners():
        # Some options, such as `gate=off`, have no keys at all.
        if dataclasses.fields(spec):
            keys.append(_row(name, _keys(group, spec)))
    return "\n".join(
        [
            _INTRODUCTION,
            "groups (the first option is the default):",
            *groups,
            "",
            _EXPERIMENTS,
            _row("experiment", ", ".join(_experiments())),
            "",
            _DEFAULTS,
            *keys,
            "",
            _EXAMPLES,
        ]
    )


def _experiments() -> list[str]:
    return sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))


def _owners() -> list[tuple[str, str, type]]:
    """Return (what to call it, group, spec class), each class once."""
    owners = []
    for group in GROUPS:
        classes = _classes_of(group)
        for spec, option in classes.items():
            # Where a group's options are of one class, its keys belong to the group as a whole.
            name = group
            if len(classes) > 1:
                name = f"{group}={option}"
            owners.append((name, group, spec))
    for slot, spec in PLAIN_SLOTS.items():
        owners.append((slot, slot, spec))
    return owners


def _classes_of(group: str) -> dict[type, str]:
    """Return the spec classes of a group's options, each with the first option that has it."""
    classes: dict[type, str] = {}
    for other, option, spec in OPTIONS:
        if other == group:
            classes.setdefault(spec, option)
    return classes


def _keys(group: str, spec: type) -> str:
    words = []
    for field in dataclasses.fields(spec):
        words.append(f"{group}.{field.name}{_default(field)}")
    return "  ".join(words)


def _default(field: dataclasses.Field) -> str:
    """Return `=5`, `=text`, `=['a']`, or all the choices with the default first.

    It is empty where the default is null, empty or a spec.
    """
    value = field.default
    if isinstance(value, enum.Enum):
        # The first of the choices is the default, as with the options of a group.
        names = [kind.name for kind in type(value)]
        names.remove(value.name)
        return "=" + "|".join([value.name, *names])
    if isinstance(value, tuple) and value:
        # Without spaces, at which a shell would part the list into several arguments.
        return f"={list(value)}".replace("', '", "','")
    if isinstance(value, str) and value:
        if value.isidentifier():
            return f"={value}"
        return f"='{value}'"
    if isinstance(value, bool | int | float):
        # YAML writes true and false in lower case.
        return f"={str(value).lower()}"
    return ""


def _row(name: str, text: str) -> str:
    """Fill the text beside the name, wrapped between its words alone: keys are copied from it."""
    return textwrap.fill(
        f"  {name:<18}{text}",
        width=118,
        subsequent_indent=" " * 20,
        break_on_hyphens=False,
        break_long_words=False,
    )
