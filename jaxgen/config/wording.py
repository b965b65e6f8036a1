"""Keys, options and types in words: what is allowed, and what was probably meant."""

import dataclasses
import difflib
import enum
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from jaxgen.config.table import GROUPS, OPTIONS
from jaxgen.specs.codec import without_none

_ADVICE = re.compile(r"\n(?:Config search path|Search path|See https|To append)")
"""Where Hydra's advice on search paths and web pages begins."""

_TYPES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple: "a list, such as \"['...']\"",
    dict: "names with values, such as {NAME: value}",
}


def unknown_key(key: str, kind: type, *, typed: str | None = None) -> str:
    """Word the message for a key that its spec does not have.

    Args:
        key: dotted.
        kind: the spec class (or its schema) that lacks the key's last part.
        typed: the override or the file that named it; null shows the key alone.
    """
    slot, _, last = key.rpartition(".")
    known = _field_names(kind)
    where = typed or key
    if not slot:
        # An experiment is chosen like an option, and is no slot of the configuration.
        known.append("experiment")
        hint = _guess(last, known)
        return f"{where}: there is no {last}; there are {listed(known)}{hint}"
    owner = _owner(slot, kind)
    # Another option of the group may have the key: that is a better guess than a similar word.
    hint = _option_that_has(slot, last)
    if not known:
        return f"{where}: {owner} has no keys at all{hint}"
    if not hint:
        hint = _guess(last, known, prefix=f"{slot}.")
    return f"{where}: {owner} has no key {last}; it has {listed(known)}{hint}"


def unknown_option(group: str, name: str, options: Sequence[str]) -> str:
    """Word the message for an option that its group does not have.

    The table's options go first, in the table's order; then those of the user's own files.
    """
    known = GROUPS.get(group, ())
    ordered = [option for option in known if option in options]
    ordered += [option for option in options if option not in known]
    if ordered:
        allowed = f"{group} takes one of {listed(ordered)}"
    else:
        allowed = f"there is no option of {group} yet"
    hint = _guess(name, ordered, prefix=f"{group}=")
    return f"{group}={name} is not an option; {allowed}{hint}"


def expected(field: dataclasses.Field) -> str:
    """Say what a field takes, and its default: `a whole number or null (default null)`."""
    kind = without_none(field.type)
    words = _words_of(kind)
    if kind is not field.type:
        words += " or null"
    return words + _default(field)


def _words_of(kind: Any) -> str:
    """Say which values a type has."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        names = [member.name for member in kind]
        return f"one of {listed(names)}"
    if dataclasses.is_dataclass(kind):
        return f"the keys {listed(_field_names(kind))}"
    plain = typing.get_origin(kind) or kind
    return _TYPES.get(plain, "another value")


def _field_names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def listed(words: Iterable[str]) -> str:
    """Join words with commas."""
    return ", ".join(words)


def in_one_line(error: BaseException) -> str:
    """Return the library's own words in one line, without its advice."""
    text, *_ = _ADVICE.split(str(error))
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        first_line, *_ = str(cause).splitlines()
        text = f"{text} {first_line}"
    words = text.split()
    return " ".join(words) or type(error).__name__


def _default(field: dataclasses.Field) -> str:
    value = field.default
    if value is None:
        return " (default null)"
    # A bool is an int as well: it comes first.
    if isinstance(value, bool):
        return f" (default {str(value).lower()})"
    if isinstance(value, enum.Enum):
        return f" (default {value.name})"
    if isinstance(value, int | float):
        return f" (default {value})"
    return ""


def _owner(slot: str, kind: type) -> str:
    """Return the group, with its option where the spec class belongs to one alone."""
    options = []
    for group, name, spec in OPTIONS:
        # By name, as the class may be a schema: the twin of the spec.
        if group == slot and spec.__name__ == kind.__name__:
            options.append(name)
    if len(options) == 1:
        return f"{slot}={options[0]}"
    return slot


def _option_that_has(slot: str, key: str) -> str:
    """Return a hint, if another option of the group has the key."""
    options = []
    for group, name, spec in OPTIONS:
        if group == slot and key in _field_names(spec):
            options.append(name)
    if not options:
        return ""
    # A key may be called like the option that it belongs to, as `prompts.text` is.
    option = key if key in options else options[0]
    return f"; {slot}={option} has it"


def _guess(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    if not near:
        return ""
    return f"; did you mean {prefix}{near[0]}?"
