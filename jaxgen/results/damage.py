"""Whether a result.json is what `results.schema` says: what is of another kind is damage, named.

The types of the schema are read here once, so that nothing about the keys is said twice.
"""

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NotRequired

from jaxgen.results.schema import Result
from jaxgen.results.schema.types import FILLED

NEEDED = (
    ("arms", "candidate"),
    ("cases", "*", "arms", "candidate"),
    ("arms", "*", "metrics", "*", "unit"),
    ("arms", "*", "metrics", "*", "better"),
    ("cases", "*", "arms", "*", "metrics", "*", "unit"),
    ("cases", "*", "arms", "*", "metrics", "*", "better"),
    ("comparison", "*", "ratio"),
    ("comparison", "*", "blocks"),
    ("comparison", "*", "pairs"),
    ("cases", "*", "comparison", "*", "ratio"),
    ("cases", "*", "comparison", "*", "blocks"),
    ("cases", "*", "comparison", "*", "pairs"),
    ("gate", "rows", "*", "metric"),
    ("gate", "rows", "*", "status"),
)
"""What no reader can do without; `*` stands for any name or number. All else may be absent."""


class Damage(Exception):
    """Where a result is not what it should be."""


@dataclasses.dataclass(frozen=True)
class Value:
    """A value without parts, and what it must be."""

    name: str
    holds: Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class List:
    """A list of one kind of members."""

    member: "Shape"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of names and values.

    Attributes:
        keys: the names that are known, each with the shape of its value.
        others: the shape of the values of all other names; null where these are not looked at.
        may_be_null: null stays null; else an empty table takes its place.
    """

    keys: Mapping[str, "Shape"]
    others: "Shape | None" = None
    may_be_null: bool = False


Shape = Value | List | Table


def checked(result: Mapping[str, Any]) -> Result:
    """Return a result whose sections are all there, empty where the file does not have them.

    Args:
        result: what was read from a result.json.

    Raises:
        Damage: something is of another kind, or what is needed is missing.
    """
    complete = _sound(result, _RESULT, ())
    # The kinds come first: every part on the way to a needed value is a table or a list by now.
    for path in NEEDED:
        _require(complete, path, ())
    return complete


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; true and false are none."""
    # 1e999 is sound JSON, and infinity once it has been read.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_positive, value))


_NAMED_VALUES = {
    value.name: value
    for value in (
        Value("a count", _is_count),
        Value("a number above 0", _is_positive),
        Value("two numbers above 0", _is_interval),
        Value("a plain value", lambda value: not isinstance(value, list | dict)),
    )
}
# JSON has one kind of number: 2.0 may stand where 2 was meant, and the other way round.
_PLAIN_VALUES = {
    str: Value("text", lambda value: isinstance(value, str)),
    float: Value("a number", is_number),
    int: Value("a number", is_number),
    bool: Value("true or false", lambda value: isinstance(value, bool)),
    Any: Value("anything", lambda _value: True),
}


def _shape_of(annotation: Any) -> Shape:
    """Translate a type of the schema."""
    if typing.is_typeddict(annotation):
        keys = {}
        for name, field in typing.get_type_hints(annotation, include_extras=True).items():
            keys[name] = _shape_of(field)
        return Table(keys)
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is None:
        return _PLAIN_VALUES[annotation]
    if origin is Literal:
        return Value(" or ".join(arguments), lambda value: value in arguments)
    # A name of `schema.types` stands for a check that the types of Python cannot express.
    if origin is Annotated and arguments[1] != FILLED:
        return _NAMED_VALUES[arguments[1]]
    if origin in (dict, Mapping):
        others = arguments[1]
        return Table({}, others=None if others is Any else _shape_of(others))
    shape = _shape_of(arguments[0])
    if origin is list:
        return List(shape)
    if isinstance(shape, Table) and origin is not NotRequired:
        # `X | None`: null stays null, but where the type is annotated as filled.
        return dataclasses.replace(shape, may_be_null=origin is not Annotated)
    return shape


_RESULT = _shape_of(Result)


def _sound(value: Any, shape: Shape, where: tuple[str, ...]) -> Any:
    """Return a value with all sections filled in, or raise `Damage` with its place."""
    if isinstance(shape, Value):
        # Null fits everywhere: it is a figure that is not known.
        if value is not None and not shape.holds(value):
            raise Damage(f"{'.'.join(where)} is not {shape.name}")
        return value
    if isinstance(shape, List):
        if not isinstance(value, list | None):
            raise Damage(f"{'.'.join(where)} is no list")
        # A list that is not there becomes an empty one, so that readers need no case for it.
        members = []
        for index, member in enumerate(value or []):
            members.append(_member(member, shape.member, (*where, str(index))))
        return members
    # Null says that there is none, such as a mesh, and must not look like an empty one.
    if value is None and shape.may_be_null:
        return None
    if not isinstance(value, dict | None):
        raise Damage(f"{'.'.join(where) or 'the result'} is no table of names and values")
    return _sound_table(value or {}, shape, where)


def _sound_table(table: Mapping[str, Any], shape: Table, where: tuple[str, ...]) -> dict[str, Any]:
    """Check the known names, present or not, and then the others; order stays as in the file."""
    complete = dict(table)
    # Keys that the schema does not name are kept as they are: a newer jaxgen may have added them.
    for key, part in shape.keys.items():
        complete[key] = _sound(table.get(key), part, (*where, key))
    if shape.others is not None:
        for key, value in table.items():
            if key not in shape.keys:
                complete[key] = _member(value, shape.others, (*where, key))
    return complete


def _member(value: Any, shape: Shape, where: tuple[str, ...]) -> Any:
    """Check a member of a list or a table, which may be null only where it is a plain value."""
    if value is None and not isinstance(shape, Value):
        raise Damage(f"{'.'.join(where)} is null")
    return _sound(value, shape, where)


def _require(value: Any, path: tuple[str, ...], where: tuple[str, ...]) -> None:
    """Raise `Damage` where a path of `NEEDED` ends in nothing."""
    if not path:
        if value is None:
            raise Damage(f"{'.'.join(where)} is missing")
        return
    if value is None:  # a part of something that need not be there
        return
    first, *rest = path
    if first != "*":
        _require(value.get(first), tuple(rest), (*where, first))
        return
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in members:
        _require(member, tuple(rest), (*where, str(key)))
