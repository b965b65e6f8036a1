"""The reference of all groups and keys as a Markdown page, made from the specs and the YAML files.

    python -m jaxgen.config.reference > conf/README.md

A test compares the page with what this prints, so that neither can fall behind the other.
"""

import dataclasses
import enum
import inspect
import json
import re
import typing
from pathlib import Path
from typing import Any

from jaxgen.config.table import GROUPS, OPTIONS, PLAIN_SLOTS, conf_dir
from jaxgen.specs.codec import without_none

_INTRODUCTION = """\
# Groups, options and keys

This page is made from the specs in `jaxgen/specs/` and from the YAML files beside it:
`python -m jaxgen.config.reference > conf/README.md`. `python -m jaxgen --help` prints the same \
names in short,
`python -m jaxgen --cfg job` the configuration that a command line composes.

More pages: [caches and batching](caches.md), [meshes and clusters](clusters.md),
[gates, studies and reports](studies.md). What was measured stands in
[runs/reference](../runs/reference/README.md).

A run is composed from one option of each group (`cache=paged`) and single keys \
(`cache.page_size=32`). The command
line describes the candidate; the group `baseline` says in what the baseline differs from it. \
Your own YAML files
take part with `--config-dir FOLDER`, where `FOLDER/cache/mine.yaml` becomes `cache=mine`.

The installed command `jaxgen` is the same as `python -m jaxgen`, and
`eval "$(jaxgen -sc install=bash)"` lets the shell complete groups, options and keys.
"""

_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def reference() -> str:
    """Return the page: every group with its options, every key with its default and meaning."""
    parts = [_INTRODUCTION]
    parts += ["## Groups\n", _group_table()]
    parts += ["## Experiments\n", _experiment_table()]
    for group in GROUPS:
        parts.append(f"## `{group}`\n")
        parts.append(_option_table(group))
        parts += _key_tables(group)
    for slot, spec in PLAIN_SLOTS.items():
        parts.append(f"## `{slot}`\n")
        parts.append(f"{_summary_of(spec)}\n")
        parts.append(_key_table(slot, spec))
    return "\n".join(part for part in parts if part)


def attribute_docs(spec: type) -> dict[str, str]:
    """Return what the `Attributes` section of a spec's docstring says of each field.

    An entry may name several fields (`process_id, num_processes: ...`); each of them gets its text.
    """
    docs: dict[str, str] = {}
    names: list[str] = []
    docstring = inspect.getdoc(spec) or ""
    _, _, section = docstring.partition("Attributes:\n")
    for line in section.splitlines():
        if not line.startswith("    "):
            break  # the section has ended
        # A line that begins no entry continues the one before.
        entry = _ENTRY.match(line[4:])
        if entry is not None:
            names = entry[1].split(", ")
            docs.update(dict.fromkeys(names, entry[2]))
            continue
        for name in names:
            docs[name] = f"{docs[name]} {line.strip()}"
    return docs


def _group_table() -> str:
    rows = []
    for group, options in GROUPS.items():
        link = f"[`{group}`](#{group})"
        quoted = [f"`{option}`" for option in options]
        rows.append([link, ", ".join(quoted)])
    return _table(["group", "options, the default first"], rows)


def _experiment_table() -> str:
    """One row for each experiment: the question that its file opens with."""
    rows = []
    for path in sorted((conf_dir() / "experiment").glob("*.yaml")):
        comment = _opening_comment(path)
        question, _, _ = comment.partition("Command: ")
        # Hydra needs these words at the top of the file; a reader does not.
        question = question.replace("@package _global_ ", "")
        question = question.removeprefix("Question: ").strip()
        first_sentence, *_ = re.split(r"(?<=[?.]) ", question)
        link = f"[`{path.stem}`](experiment/{path.name})"
        rows.append([link, first_sentence])
    return _table(["`experiment=`", "question"], rows)


def _option_table(group: str) -> str:
    """One row for each option of a group: what the comment of its file says."""
    rows = []
    for option in GROUPS[group]:
        path = conf_dir() / group / f"{option}.yaml"
        rows.append([f"`{option}`", _opening_comment(path)])
    return _table([f"`{group}=`", "what it is"], rows)


def _key_tables(group: str) -> list[str]:
    """The keys of a group; a table for each spec class where its options have several."""
    options_of: dict[type, list[str]] = {}
    for other, option, spec in OPTIONS:
        if other == group:
            options_of.setdefault(spec, []).append(option)
    tables = []
    for spec, options in options_of.items():
        if not dataclasses.fields(spec):
            continue
        heading = "Keys:\n"
        if len(options_of) > 1:
            names = [f"`{group}={option}`" for option in options]
            heading = f"Keys of {', '.join(names)}:\n"
        tables += [heading, _key_table(group, spec)]
    return tables


def _key_table(path: str, spec: type) -> str:
    return _table(["key", "default", "meaning"], _key_rows(path, spec))


def _key_rows(path: str, spec: type) -> list[list[str]]:
    """One row for each field; a field that holds a spec of its own is followed by that one's."""
    docs = attribute_docs(spec)
    hints = typing.get_type_hints(spec)
    rows = []
    for field in dataclasses.fields(spec):
        key = f"{path}.{field.name}"
        kind = without_none(hints[field.name])
        default = _default(field, kind)
        meaning = docs.get(field.name, "")
        rows.append([f"`{key}`", default, meaning])
        # `model.shapes` has keys of its own, which are typed like any other.
        if dataclasses.is_dataclass(kind):
            rows += _key_rows(key, typing.cast(type, kind))
    return rows


def _default(field: dataclasses.Field, kind: Any) -> str:
    """The default as it would be typed, with the other values of a choice."""
    value = field.default
    if value is dataclasses.MISSING:
        return ""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        choices = [f"`{choice.value}`" for choice in kind]
        default = value.value if isinstance(value, enum.Enum) else "null"
        return f"`{default}` of {', '.join(choices)}"
    # Its own keys follow, each with its default.
    if dataclasses.is_dataclass(value):
        return ""
    # As JSON, null, true and lists look as the command line takes them.
    # Of what JSON does not know only choices are left, such as those in a list.
    return f"`{json.dumps(value, default=lambda choice: choice.value)}`"


def _summary_of(spec: type) -> str:
    """The first paragraph of a spec's docstring."""
    docstring = inspect.getdoc(spec) or ""
    paragraph, _, _ = docstring.partition("\n\n")
    return " ".join(paragraph.split())


def _opening_comment(path: Path) -> str:
    """The comment that a YAML file begins with, as one line."""
    words = []
    # What follows the comment is values alone.
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.removeprefix("#").strip())
    return " ".join(words)


def _table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a bar inside a cell would end it."""
    ruler = ["---"] * len(head)
    text = ""
    for cells in [head, ruler, *rows]:
        escaped = [cell.replace("|", "\\|") for cell in cells]
        text += f"| {' | '.join(escaped)} |\n"
    return text


if __name__ == "__main__":
    print(reference(), end="")
