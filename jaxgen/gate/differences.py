"""What else differs between a stored run and this one: what a reader must know who compares their figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxgen.gate.stored import Stored, environment_facts
from jaxgen.specs.experiment import SHARED_SLOTS

SHOWN = 6  # keys that a note names before it counts the rest
LONGEST = 40  # characters of a value in a note


def differences(result: Mapping[str, Any], stored: Stored) -> list[str]:
    """Sentences on the machine, the candidate's configuration and weights, and results that are a doubtful measure."""
    found = [_environment(result, stored)]
    if stored.result is not None:
        now, then = (each["arms"].get("candidate", {}) for each in (result, stored.result))
        keys = changed_keys(now, then)
        found.append(
            f"the candidate is not configured as it was then: {_listed(keys)}" if keys else None
        )
        found.append(_weights(now, then))
        found.append(_invalid(stored.result, "the stored run"))
    return [told for told in [*found, _invalid(result, "this run")] if told]


def changed_keys(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """What differs in what an arm of two results was made of, as `key was VALUE, is VALUE`.

    A key that one of the two does not know is passed over: it belongs to another option, which is named itself, or one
    of the two jaxgens had no such key.

    Example:
        >>> changed_keys({"choices": {"cache": "none"}}, {"choices": {"cache": "fixed"}})
        ['cache was fixed, is none']
    """
    old, new = dict(_flat(_made_of(then))), dict(_flat(_made_of(now)))
    return [
        f"{key} was {_short(old[key])}, is {_short(new[key])}"
        for key in new
        if key in old and new[key] != old[key]
    ]


def _made_of(arm: Mapping[str, Any]) -> dict[str, Any]:
    """The options by group and the values by key, without the slots that are about the measurement."""
    options = {
        group: option
        for group, option in (arm.get("choices") or {}).items()
        if group != "experiment"
    }
    values = {f"{slot}.": keys for slot, keys in (arm.get("config") or {}).items()}
    return {
        key: value
        for key, value in (options | values).items()
        if key.rstrip(".") not in SHARED_SLOTS
    }


def _flat(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, name if name.endswith(".") else f"{name}.")
        else:
            yield name, value


def _environment(result: Mapping[str, Any], stored: Stored) -> str | None:
    now, then = environment_facts(result.get("environment")), stored.environment
    moved = [
        f"{key} was {then[key]}, is {now[key]}"
        for key in now
        if key in then and now[key] != then[key]
    ]
    return f"the machine or its software is another: {_listed(moved)}" if moved else None


def _weights(now: Mapping[str, Any], then: Mapping[str, Any]) -> str | None:
    new, old = ((arm.get("weights") or {}).get("fingerprint") for arm in (now, then))
    return "the candidate's weights are not those of then" if new and old and new != old else None


def _invalid(result: Mapping[str, Any], whose: str) -> str | None:
    return (
        f"{whose} is invalid itself: {result.get('verdict_reason')}"
        if result.get("verdict") == "invalid"
        else None
    )


def _short(value: Any) -> str:
    """A list of prompts can be long."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
