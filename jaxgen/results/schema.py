"""The shape of a result.json, as far as a report reads it: what is of another kind is damage, and is named.

A shape is a kind (`TEXT`, `NUMBER`, ...), a list of one shape, or keys with their shapes, of which `*` stands for any
name. Everything may be null or absent unless it is in `NEEDED`: a result tells what it has.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any


class Damage(Exception):
    """Where a result is not what it should be."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A value without parts."""

    name: str
    holds: Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class Maybe:
    """Parts that are there together or not at all: null stays null, where else an empty table takes its place."""

    shape: Any


def is_number(value: Any) -> bool:
    """Finite, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


ANY = Kind("anything", lambda _value: True)
TEXT = Kind("text", lambda value: isinstance(value, str))
NUMBER = Kind("a number", is_number)
POSITIVE = Kind("a number above 0", lambda value: is_number(value) and value > 0)
COUNT = Kind(
    "a count", lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0
)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
PLAIN = Kind("a plain value", lambda value: not isinstance(value, list | dict))
BETTER = Kind("higher or lower", lambda value: value in ("higher", "lower"))
INTERVAL = Kind(
    "two numbers above 0",
    lambda value: isinstance(value, list) and len(value) == 2 and all(map(POSITIVE.holds, value)),
)

_METRIC = {"unit": TEXT, "better": BETTER, "median": NUMBER, "std": NUMBER}
_COMPARED = {
    "ratio": POSITIVE,
    "ci95": INTERVAL,
    "blocks": COUNT,
    "pairs": COUNT,
    "processes": COUNT,
}
_AGREEMENT = {
    "status": TEXT,
    "tokens_compared": COUNT,
    "scores_compared": COUNT,
    "first_divergence": Maybe({"excerpt": {"*": TEXT}}),
    "quality": Maybe(
        {
            "positions": COUNT,
            **dict.fromkeys(("next_token_agreement", "logit_error", "kl_mean"), NUMBER),
        }
    ),
}
_MEASURED = {
    "metrics": {"*": _METRIC},
    "compile": {"events_per_trial": [COUNT], "warm": FLAG},
    "workload": {
        "cache": Maybe(
            dict.fromkeys(("reserved_bytes", "used_bytes", "saved_bytes", "unused_share"), NUMBER)
        )
    },
    "roofline": {"prefill": {}},
}
_JUDGED = {
    "verdict": TEXT,
    "verdict_reason": TEXT,
    "comparison": {"*": _COMPARED},
    "agreement": _AGREEMENT,
    "stability": {"drift": {"*": {}}},
    "measurement": {"margin": NUMBER, "margin_source": TEXT, "stopped_because": ANY},
}
_ARM = _MEASURED | {
    "choices": {"*": TEXT},
    "config": {},
    "weights": {"source": TEXT, "random": FLAG},
    "startup": {},
    "memory": {"reasons": {}},
    "program": {
        "wide_copies": Maybe(
            {
                "count": COUNT,
                "bytes": COUNT,
                "operations": [{"operation": TEXT, "array": TEXT, "bytes": COUNT}],
            }
        )
    },
    "mesh": Maybe(
        {
            **dict.fromkeys(
                ("data", "tensor", "weights_bytes_per_device", "kv_cache_bytes_per_device"), COUNT
            ),
            "collectives": {"*": {"*": COUNT}},
        }
    ),
    "failure": Maybe({"kind": TEXT, "message": TEXT, "traceback": TEXT}),
}
_GATE_ROW = {
    "params": {},
    "metric": TEXT,
    "status": TEXT,
    "old": NUMBER,
    "new": NUMBER,
    "change": NUMBER,
}
_GATE = {
    "rows": [_GATE_ROW],
    "notes": [TEXT],
    "against": TEXT,
    "threshold": NUMBER,
    "status": TEXT,
    "reason": TEXT,
}
_ENVIRONMENT = {
    "packages": {},
    "jax_environment": {},
    "jax_config": {},
    "git": {},
    "memory_bytes": POSITIVE,
    "load_average_before": [NUMBER],
    "load_average_after": [NUMBER],
    "cpu": TEXT,
    "device_kind": TEXT,
}
RESULT = _JUDGED | {
    "status": TEXT,
    "command": TEXT,
    "started_at": TEXT,
    "arms": {"*": _ARM},
    "cases": [_JUDGED | {"params": {"*": PLAIN}, "arms": {"*": _MEASURED}}],
    "notes": [TEXT],
    "environment": _ENVIRONMENT,
    "gate": Maybe(_GATE),
    "calibration": Maybe(
        {"floor": POSITIVE, "key": TEXT, "repetitions": COUNT, "comparisons": [_COMPARED]}
    ),
    "selftest": Maybe(
        {
            "same": [_COMPARED],
            "slowed": [_COMPARED],
            "rates": {"*": NUMBER},
            "slowdown": NUMBER,
            "margin": NUMBER,
            "faults": {"*": {"found": FLAG}},
        }
    ),
}
NEEDED = (
    *(("arms", "candidate"), ("cases", "*", "arms", "candidate")),
    *(("arms", "*", "metrics", "*", key) for key in ("unit", "better")),
    *(("cases", "*", "arms", "*", "metrics", "*", key) for key in ("unit", "better")),
    *(("comparison", "*", key) for key in ("ratio", "blocks", "pairs")),
    *(("cases", "*", "comparison", "*", key) for key in ("ratio", "blocks", "pairs")),
    *(("gate", "rows", "*", key) for key in ("metric", "status")),
)


def checked(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result whose parts are all there, empty where they were not told.

    Raises:
        Damage: something is of another kind, or what is needed is missing.
    """
    whole = _sound(result, RESULT, ())
    for path in NEEDED:
        _need(whole, path, ())
    return whole


def _sound(value: Any, shape: Any, where: tuple[str, ...]) -> Any:
    if isinstance(shape, Maybe):
        return None if value is None else _sound(value, shape.shape, where)
    if isinstance(shape, Kind):
        if value is not None and not shape.holds(value):
            raise Damage(f"{'.'.join(where)} is not {shape.name}")
        return value
    if isinstance(shape, list):
        if not isinstance(value, list | None):
            raise Damage(f"{'.'.join(where)} is no list")
        return [
            _present(each, shape[0], (*where, str(number)))
            for number, each in enumerate(value or [])
        ]
    if not isinstance(value, dict | None):
        raise Damage(f"{'.'.join(where) or 'the result'} is no table of names and values")
    given = value or {}
    named = {
        key: _sound(given.get(key), each, (*where, key))
        for key, each in shape.items()
        if key != "*"
    }
    if "*" in shape:
        named |= {
            key: _present(each, shape["*"], (*where, key))
            for key, each in given.items()
            if key not in named
        }
    return {**given, **named}


def _present(value: Any, shape: Any, where: tuple[str, ...]) -> Any:
    """A member of a list or a table: a null is no member, but where values are plain."""
    if value is None and not isinstance(shape, Kind):
        raise Damage(f"{'.'.join(where)} is null")
    return _sound(value, shape, where)


def _need(value: Any, path: tuple[str, ...], where: tuple[str, ...]) -> None:
    if not path:
        if value is None:
            raise Damage(f"{'.'.join(where)} is missing")
        return
    if value is None:  # of something that need not be there
        return
    first, *rest = path
    if first != "*":
        _need(value.get(first), tuple(rest), (*where, first))
        return
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        _need(each, tuple(rest), (*where, str(key)))
