"""Runs as JSON values and back: the message that a worker is started with.

Every slot carries the name of its spec class, so that slots with several kinds need no guessing. Both directions
follow the dataclasses' own annotations; a new spec needs no line here.
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
    """A run as JSON values: dictionaries, lists, texts, numbers, booleans and None.

    Args:
        run: any run.

    Returns:
        One dictionary per slot with its fields, and under `class` the name of the slot's spec class.

    Example:
        >>> spec_to_plain(run)["dtype"]["weights"]
        'float32'
    """
    return {
        slot: {KIND: type(getattr(run, slot)).__name__, **_write(getattr(run, slot))}
        for slot in ARM_SLOTS
    }


def spec_from_plain(plain: dict[str, dict[str, Any]]) -> Run:
    """The run that `spec_to_plain` wrote, equal and with an equal hash.

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
    slots = {slot: slot_from_plain(slot, values, ARM_SLOTS[slot]) for slot, values in plain.items()}
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
    kinds = {kind.__name__: kind for kind in classes}
    name = values.get(KIND)
    if name not in kinds:
        raise ValueError(f"slot {slot} cannot hold {name!r}; it takes one of {sorted(kinds)}")
    return _read_spec(kinds[name], {key: value for key, value in values.items() if key != KIND})


def _write(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _write(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_write(item) for item in value]
    return value


def _read_spec(kind: type, values: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    return kind(**{key: _read(hints.get(key, Any), value) for key, value in values.items()})


def _read(hint: Any, value: Any) -> Any:
    """The value as its annotation has it; what JSON already tells apart passes through."""
    kind = without_none(hint)
    if isinstance(value, dict) and dataclasses.is_dataclass(kind):
        return _read_spec(typing.cast(type, kind), value)
    if isinstance(kind, enum.EnumMeta) and value is not None:
        return kind(value)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_read(typing.get_args(kind)[0], item) for item in value)
    return _tuples(value)


def without_none(hint: Any) -> Any:
    """The `X` of `X | None`; any other annotation as it is.

    Example:
        >>> without_none(int | None)
        <class 'int'>
    """
    kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return kinds[0] if is_union and len(kinds) == 1 else hint


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
