"""What else differs between a stored run and this one, which a reader of both figures must know."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen.gate.measured import MACHINE_KEYS, PACKAGES, SETTING_KEYS, environment_facts
from jaxgen.gate.stored import Stored
from jaxgen.results.listing import first_few
from jaxgen.results.schema import Result
from jaxgen.specs.experiment import SHARED_SLOTS

MOST_NAMED = 6  # keys that a note names before it counts the rest
LONGEST = 40  # characters of a value in a note


def differences(result: Result, stored: Stored) -> list[str]:
    """Return sentences on all that makes the comparison of two runs doubtful.

    They are about the settings of the process, the candidate's configuration and weights, and
    results that are invalid themselves. `machine_differences` has what forbids a comparison.
    """
    notes = [_settings_of_process(result, stored)]
    if stored.result is not None:
        now = result["arms"].get("candidate", {})
        then = stored.result["arms"].get("candidate", {})
        notes.append(_configuration(now, then))
        notes.append(_weights(now, then))
        notes.append(_invalid(stored.result, "the stored run"))
    notes.append(_invalid(result, "this run"))
    return [note for note in notes if note is not None]


def machine_differences(result: Result, stored: Stored) -> list[str]:
    """Return what of the machine or its software is another, as `cpu was VALUE, is VALUE`.

    Figures of two machines, or of two versions of jax, do not tell whether code became slower.
    What one side does not say is taken for no difference: an older file may lack the key.
    """
    return _changed_facts(result, stored, (*MACHINE_KEYS, *PACKAGES))


def baseline_difference(result: Result, stored: Stored) -> str | None:
    """Say why the two runs' baselines are not the same, in one clause; None where they are.

    Only what is the same in both runs can stand for the machine: then a change of candidate over
    baseline is one of the candidate.
    """
    now = result["arms"].get("baseline")
    then = stored.result["arms"].get("baseline") if stored.result is not None else None
    if not now or not then:
        return "one of the runs has no baseline"
    keys = changed_keys(now, then)
    if keys:
        return f"the baseline is not configured as it was then: {first_few(keys, most=MOST_NAMED)}"
    if _weights(now, then):
        return "the baseline's weights are not those of then"
    new_program, old_program = _program(now), _program(then)
    # The code of a baseline is its program; a change of code around it is noted, not refused.
    if new_program and old_program and new_program != old_program:
        return "the baseline is another program than then"
    return None


def changed_keys(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Return what differs in what an arm of two results was made of, as `key was VALUE, is VALUE`.

    A key that one of the two does not have is left out: it belongs to another option, which is
    named itself, or one of the two versions of jaxgen had no such key.

    Example:
        >>> changed_keys({"choices": {"cache": "none"}}, {"choices": {"cache": "fixed"}})
        ['cache was fixed, is none']
    """
    old, new = _settings(then), _settings(now)
    changes = []
    for key, value in new.items():
        # A key that is new is no difference that a user made.
        if key in old and value != old[key]:
            before, after = _short(old[key]), _short(value)
            changes.append(f"{key} was {before}, is {after}")
    return changes


def _settings(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by group and the values by key, of the slots that an arm is made of."""
    settings: dict[str, Any] = {}
    for group, option in (arm.get("choices") or {}).items():
        # An experiment is only a set of choices, which stand here one by one; shared slots are
        # about how one measures, not about what.
        if group != "experiment" and group not in SHARED_SLOTS:
            settings[group] = option
    for slot, values in (arm.get("config") or {}).items():
        if slot not in SHARED_SLOTS:
            settings |= _flat(values, slot)
    return settings


def _flat(value: Any, path: str) -> dict[str, Any]:
    """Return the leaves of a nested configuration by their dotted keys."""
    if not isinstance(value, Mapping):
        return {path: value}
    leaves: dict[str, Any] = {}
    for key, below in value.items():
        leaves |= _flat(below, f"{path}.{key}")
    return leaves


def _settings_of_process(result: Result, stored: Stored) -> str | None:
    changes = _changed_facts(result, stored, SETTING_KEYS)
    if not changes:
        return None
    return f"the processes were started otherwise: {first_few(changes, most=MOST_NAMED)}"


def _changed_facts(result: Result, stored: Stored, names: Sequence[str]) -> list[str]:
    now = environment_facts(result.get("environment"))
    then = stored.environment
    changes = []
    for name in names:
        if name in now and name in then and now[name] != then[name]:
            changes.append(f"{name} was {then[name]}, is {now[name]}")
    return changes


def _configuration(now: Mapping[str, Any], then: Mapping[str, Any]) -> str | None:
    keys = changed_keys(now, then)
    if not keys:
        return None
    return f"the candidate is not configured as it was then: {first_few(keys, most=MOST_NAMED)}"


def _weights(now: Mapping[str, Any], then: Mapping[str, Any]) -> str | None:
    new, old = _fingerprint(now), _fingerprint(then)
    # The same configuration can name another model: a folder is overwritten, a hub has a new
    # version.
    if not new or not old or new == old:
        return None
    return "the candidate's weights are not those of then"


def _fingerprint(arm: Mapping[str, Any]) -> str | None:
    weights = arm.get("weights") or {}
    return weights.get("fingerprint")


def _program(arm: Mapping[str, Any]) -> str | None:
    program = arm.get("program") or {}
    return program.get("stablehlo_sha256")


def _invalid(result: Result, whose: str) -> str | None:
    if result.get("verdict") != "invalid":
        return None
    return f"{whose} is invalid itself: {result.get('verdict_reason')}"


def _short(value: Any) -> str:
    """Cut a value, such as a list of prompts, to the length that a note has room for."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
