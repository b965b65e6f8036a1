"""Runs as JSON values and back: the message that a worker loads an arm by.

Every slot carries the name of its spec class, so that slots with several kinds need no guessing.
Both directions follow the dataclasses' own annotations; a new spec needs no line here.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Sequence
from typing import Any

from jaxgen.specs.run import ARM_SLOTS, Run

KIND = "class"


def spec_to_plain(run: Run) -> dict[str, dict[str, Any]]:
    """Write a run as JSON values: dictionaries, lists, texts, numbers, booleans and None.

    Args:
        run: any run.

    Returns:
        One dictionary per slot with its fields, and under `class` the name of the slot's spec
        class.

    Example:
        >>> spec_to_plain(run)["dtype"]["weights"]
        'float32'
    """
    plain = {}
    for slot in ARM_SLOTS:
        spec = getattr(run, slot)
        plain[slot] = {KIND: type(spec).__name__, **_write(spec)}
    return plain


def spec_from_plain(plain: dict[str, dict[str, Any]]) -> Run:
    """Read the run that `spec_to_plain` wrote: equal, and with an equal hash.

    Args:
        plain: one dictionary per slot, as `spec_to_plain` makes them.

    Returns:
        The run; fields that a slot leaves out have their defaults.

    Raises:
        UserError: a value is impossible.
        ValueError: a slot is missing or unknown, or names a class that it cannot hold.
    """
    if plain.keys() != ARM_SLOTS.keys():
        raise ValueError(f"not a run: its slots are {sorted(plain)}, not {sorted(ARM_SLOTS)}")
    slots = {}
    for slot, values in plain.items():
        slots[slot] = slot_from_plain(slot, values, ARM_SLOTS[slot])
    return Run(**slots)


def slot_from_plain(slot: str, values: dict[str, Any], classes: Sequence[type]) -> Any:
    """Make the spec of one slot.

    Args:
        slot: its name, for the message.
        values: the fields, and under `class` the name of the spec class.
        classes: those that the slot can hold.

    Raises:
        ValueError: the class is none of these.
    """
    # Only the classes of this slot: a message cannot name any class that it likes.
    kinds = {kind.__name__: kind for kind in classes}
    name = values.get(KIND)
    if name not in kinds:
        raise ValueError(f"slot {slot} cannot hold {name!r}; it takes one of {sorted(kinds)}")
    fields = {}
    for key, value in values.items():
        if key != KIND:
            fields[key] = value
    return _read_spec(kinds[name], fields)


def _write(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        plain = {}
        for field in dataclasses.fields(value):
            plain[field.name] = _write(getattr(value, field.name))
        return plain
    # Values and not names, so that the message reads like the YAML files.
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_write(item) for item in value]
    return value


def _read_spec(kind: type, values: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {}
    for key, value in values.items():
        # An unknown key gets as far as the class itself, which refuses it by name.
        fields[key] = _read(hints.get(key, Any), value)
    return kind(**fields)


def _read(hint: Any, value: Any) -> Any:
    """Read a value as its annotation has it; what JSON already tells apart passes through."""
    if value is None:
        return None
    kind = without_none(hint)
    if isinstance(value, dict) and dataclasses.is_dataclass(kind):
        return _read_spec(typing.cast(type, kind), value)
    if isinstance(kind, enum.EnumMeta):
        # OmegaConf writes names and `_write` values: in every enumeration here they are the same.
        return kind(value)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        item_hint, *_ = typing.get_args(kind)
        items = [_read(item_hint, item) for item in value]
        return tuple(items)
    # A union, such as a text or several: its lists become tuples, for the spec must have a hash.
    return _tuples(value)


def without_none(hint: Any) -> Any:
    """Return the `X` of `X | None`; any other annotation as it is.

    Example:
        >>> without_none(int | None)
        <class 'int'>
    """
    kinds = []
    for kind in typing.get_args(hint):
        if kind is not types.NoneType:
            kinds.append(kind)
    # The two ways to write a union have two classes.
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    if is_union and len(kinds) == 1:
        return kinds[0]
    return hint


def _tuples(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return tuple(_tuples(item) for item in value)
