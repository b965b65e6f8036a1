"""Keys, options and types in words: what is allowed, and what was probably meant."""

import dataclasses
import difflib
import enum
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from jaxgen.config.table import GROUPS, OPTIONS
from jaxgen.specs.codec import without_none

_TYPES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple: "a list, such as \"['...']\"",
    dict: "names with values, such as {NAME: value}",
}


def unknown_key(key: str, kind: type, *, typed: str | None = None) -> str:
    """The message for a key that its spec does not have.

    Args:
        key: dotted.
        kind: the spec class (or its schema) that lacks the key's last part.
        typed: the override or the file that named it; null shows the key alone.
    """
    slot, _, last = key.rpartition(".")
    known = [field.name for field in dataclasses.fields(kind)]
    if not slot:
        known.append("experiment")
        return f"{typed or key}: there is no {last}; there are {listed(known)}{_guess(last, known)}"
    if not known:
        return f"{typed or key}: {_owner(slot, kind)} has no keys at all{_elsewhere(slot, last)}"
    hint = _elsewhere(slot, last) or _guess(last, known, prefix=f"{slot}.")
    return f"{typed or key}: {_owner(slot, kind)} has no key {last}; it has {listed(known)}{hint}"


def unknown_option(group: str, name: str, options: Sequence[str]) -> str:
    """The message for an option that its group does not have; the table's options go first, in the table's order."""
    ordered = [name for name in GROUPS.get(group, ()) if name in options]
    ordered += [name for name in options if name not in ordered]
    allowed = (
        f"{group} takes one of {listed(ordered)}"
        if ordered
        else f"there is no option of {group} yet"
    )
    return f"{group}={name} is not an option; {allowed}{_guess(name, ordered, prefix=f'{group}=')}"


def expected(field: dataclasses.Field) -> str:
    """What a field takes, and its default: `a whole number or null (default null)`."""
    kind = without_none(field.type)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        words = f"one of {listed(member.name for member in kind)}"
    elif dataclasses.is_dataclass(kind):
        words = f"the keys {listed(inner.name for inner in dataclasses.fields(kind))}"
    else:
        words = _TYPES.get(typing.get_origin(kind) or kind, "another value")
    null = "" if kind is field.type else " or null"
    return f"{words}{null}{_default(field)}"


def listed(words: Iterable[str]) -> str:
    """Words in a row."""
    return ", ".join(words)


def _default(field: dataclasses.Field) -> str:
    value = field.default
    if value is None:
        return " (default null)"
    if isinstance(value, bool):
        return f" (default {str(value).lower()})"
    if isinstance(value, enum.Enum):
        return f" (default {value.name})"
    return f" (default {value})" if isinstance(value, int | float) else ""


def _owner(slot: str, kind: type) -> str:
    """The group with its option, where the kind tells the option."""
    options = [
        name for group, name, spec in OPTIONS if group == slot and spec.__name__ == kind.__name__
    ]
    return f"{slot}={options[0]}" if len(options) == 1 else slot


def _elsewhere(slot: str, key: str) -> str:
    """A hint, if another option of the group has the key."""
    having = [
        name
        for group, name, spec in OPTIONS
        if group == slot and key in (field.name for field in dataclasses.fields(spec))
    ]
    if not having:
        return ""
    return f"; {slot}={key if key in having else having[0]} has it"


def _guess(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
