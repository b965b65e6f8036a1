"""What Hydra and OmegaConf raise, as one line for the user.

The line has the key as typed, the value, what is allowed and what to try. `_problem_of_override`
looks at the overrides by themselves; the other functions word what was raised.
"""

import dataclasses
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from jaxgen.config.table import GROUPS
from jaxgen.config.typed import find, split
from jaxgen.config.wording import expected, listed, unknown_key, unknown_option
from jaxgen.errors import UserError

CAUGHT = (
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    ValueError,
    UserWarning,
    AttributeError,
    AssertionError,
)
"""What composing may raise when the user asks for something that cannot be."""

_LAUNCHERS = {
    "submitit": ("hydra-submitit-launcher", "slurm"),
    "ray": ("hydra-ray-launcher", "ray"),
}
"""How the names of launchers begin; the package that has them, and jaxgen's extra with it."""

_KEY = re.compile(r"[\w@/-]+(\.[\w-]+)*")
_IN_FILE = re.compile(r"In '(.+?)': \w+ raised while composing")
_ADVICE = re.compile(r"\n(?:Config search path|Search path|See https|To append)")
"""Where Hydra's advice on search paths and web pages begins."""


def user_error(error: Exception, typed: Sequence[str], *, sweep: bool = False) -> UserError:
    """Return the error for the user that stands behind an error of Hydra or OmegaConf.

    Args:
        error: what was raised.
        typed: the overrides that were given, as typed.
        sweep: several values for a key are allowed (`-m`).

    Returns:
        An error whose message is one line.

    Raises:
        AttributeError, AssertionError: it is a program's error, and nothing typed explains it.
    """
    # A mistake in an override explains more than what Hydra made of it.
    message = _problem_of_override(typed, sweep=sweep)
    message = message or _problem_of_option(error) or _problem_of_value(error, typed)
    if message is None and isinstance(error, AttributeError | AssertionError):
        message = _problem_of_null(typed)
        if message is None:
            raise error
    return UserError(message or _shorten(error))


def of_launcher(error: Exception) -> UserError:
    """Return the error for the user of what a launcher of Hydra's raised.

    Its own message is many lines, with a traceback in it: the first and the last are kept.
    """
    lines = []
    for line in str(error).splitlines():
        if line.strip():
            lines.append(line.strip())
    if not lines:
        lines = [type(error).__name__]
    short = lines[0]
    if len(lines) > 1:
        short += f" ... {lines[-1]}"
    return UserError(
        f"the launcher ended the sweep ({short}); "
        "what its jobs printed may lie in the sweep's .submitit"
    )


def _problem_of_override(typed: Sequence[str], *, sweep: bool) -> str | None:
    """Say what is wrong with an override by itself, whatever the configuration."""
    for override in typed:
        try:
            parsed = OverridesParser.create().parse_overrides([override])[0]
        except OverrideParseException as error:
            return _unreadable(override, error)
        problem = _misused(parsed, override, sweep=sweep)
        if problem is not None:
            return problem
    return None


def _misused(parsed: Override, override: str, *, sweep: bool) -> str | None:
    """Say what is wrong with an override that can be read."""
    key, value = split(override)
    if not key:
        return f"{override} has no key: write KEY=VALUE"
    if parsed.is_delete():
        return (
            f"{override}: nothing can be taken out of a run; set a value instead, as in {key}=..."
        )
    if parsed.is_sweep_override():
        if sweep:
            return None
        one = f"{key}=\"'{value}'\""
        return f"{override} has several values: add -m to run them all, or quote it as one: {one}"
    return _misused_group(parsed, override) if key in GROUPS else None


def _misused_group(parsed: Override, override: str) -> str | None:
    """Say what is wrong with an override that chooses an option of a group."""
    group, value = split(override)
    if parsed.is_add() or parsed.is_force_add():
        return f"{override} would add a second {group}: write {group}={value}, without the plus"
    if isinstance(parsed.value(), list):
        several = (value or "")[1:-1]
        return (
            f"{override}: {group} takes one of {listed(GROUPS[group])}; "
            f"to run several, -m {group}={several}"
        )
    # A dictionary sets several keys of the group at once, and chooses no option.
    if isinstance(parsed.value(), str | dict):
        return None
    return unknown_option(group, value or "", GROUPS[group])


def _unreadable(override: str, error: OverrideParseException) -> str:
    """Say what is wrong with an override that Hydra's grammar refuses."""
    key, value = split(override)
    # The mistakes in the order in which they are common, each with its own remedy.
    if value is None:
        allowed = f"one of {listed(GROUPS[key])}" if key in GROUPS else "a value"
        return f"{override} is not an override: write {key}=... with {allowed}"
    if not _KEY.fullmatch(key):
        return (
            f"{override} cannot be read: {key} is no key; write KEY=VALUE, as in cache.max_len=256"
        )
    if value.startswith("[") and "=" in value:
        return f"{override} cannot be read: {_quote_items(key, value)}"
    reason = _shorten(error).removeprefix(f"Error parsing override '{override}' ")
    if reason.startswith("LexerNoViableAltException"):
        reason = "a quote that is not closed, or a sign that has to be quoted"
    return f"{override} cannot be read ({reason}); quote the value twice, as in \"{key}='...'\""


def _quote_items(key: str, value: str) -> str:
    """Say how a list is written whose items have equals signs."""
    inside = value.strip("[]")
    items = ",".join(f"'{item.strip()}'" for item in inside.split(","))
    # `baseline=[jit=partial]` is tried by those who know that the baseline has overrides.
    if key == "baseline":
        return f'write baseline.{inside}, or "baseline.overrides=[{items}]"'
    return f'put quotes around each item, "{key}=[{items}]"'


def _problem_of_option(error: Exception) -> str | None:
    """Say that there is no such option of a group."""
    if not isinstance(error, MissingConfigException) or "/" not in (error.missing_cfg_file or ""):
        return None
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if group == "hydra/launcher":
        # Hydra would list the launchers that are installed, and not say how to get this one.
        for start, (package, extra) in _LAUNCHERS.items():
            if name.startswith(start):
                return (
                    f"hydra/launcher: {name} comes with {package}, which is not installed; "
                    f"pip install 'jaxgen[{extra}]'"
                )
    return unknown_option(group, name, error.options or ())


def _problem_of_value(error: Exception, typed: Sequence[str]) -> str | None:
    """Say which key or value OmegaConf refused; it may stand in a file."""
    # Hydra wraps what OmegaConf raises while it reads a file.
    cause: BaseException | None = error
    if not isinstance(error, OmegaConfBaseException):
        cause = error.__cause__ or error.__context__
    if not isinstance(cause, OmegaConfBaseException) or not cause.full_key:
        return None
    key = cause.full_key
    if isinstance(cause, InterpolationResolutionError):
        interpolated = [override for override in typed if "${" in override]
        source = interpolated[0] if interpolated else key
        first_line, *_ = str(cause).splitlines()
        return f"{source}: {first_line}"
    if isinstance(cause, MissingMandatoryValue):
        remedy = f"set {key}=..."
        if key in GROUPS:
            remedy = f"choose one of {listed(GROUPS[key])}"
        return f"{key} is missing; {remedy}"
    return _refusal(error, cause, key, typed)


def _refusal(
    error: Exception, cause: OmegaConfBaseException, key: str, typed: Sequence[str]
) -> str | None:
    """Say that a key or its value does not fit its spec, and where it stands."""
    override = find(key, typed)
    in_file = _IN_FILE.match(str(error))
    file = f"{in_file[1]}.yaml" if in_file else None
    source = file or override
    if key == "experiment":
        # It is a group only where there are files of experiments; else OmegaConf knows no such key.
        _, name = split(source or "")
        return unknown_option(key, name or "", ())
    kind = cause.object_type
    if kind is None or not dataclasses.is_dataclass(kind):
        return None
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return unknown_key(key, kind, typed=source)
    value = "null" if cause.value is None else cause.value
    # An override is shown as it was typed; a value in a file with the key that it is of.
    assignment = f"{key}={value}"
    if file:
        assignment = f"{file}: {assignment}"
    elif override:
        assignment = override
    for field in dataclasses.fields(kind):
        if field.name == cause.key and isinstance(cause, ValidationError):
            return f"{assignment} is impossible: {key} takes {expected(field)}"
    return None


def _problem_of_null(typed: Sequence[str]) -> str | None:
    """Say that a structure which is null cannot get a single key.

    OmegaConf 2.3 fails inside when such a structure gets a key or a dictionary by its dotted name.
    """
    override = find("model.shapes", typed)
    if override is None:
        return None
    return (
        f"{override}: model.shapes is null or incomplete here; give all of it at once, "
        '"model={shapes: {family: qwen3, vocab_size: 1024, ...}}", '
        "or start from a model that has shapes, as tiny has"
    )


def _shorten(error: BaseException) -> str:
    """Return the library's own words in one line, without its advice."""
    text, *_ = _ADVICE.split(str(error))
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        first_line, *_ = str(cause).splitlines()
        text = f"{text} {first_line}"
    words = text.split()
    return " ".join(words) or type(error).__name__
