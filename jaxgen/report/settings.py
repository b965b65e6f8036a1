"""The settings of an arm, and which of them tell arms and runs apart.

A setting is an option of a config group or a key of the configuration, with its value as text:
`{"cache": "fixed", "workload.batch_size": "4"}`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxgen.specs.experiment import SHARED_SLOTS

Settings = Mapping[str, str]

_NOT_OF_AN_ARM = [slot for slot in SHARED_SLOTS if slot != "measure"]
"""The groups that say neither what an arm is, nor how much it was measured."""


def settings_of(arm: Mapping[str, Any]) -> dict[str, str]:
    """Return an arm's options and, behind them, every key of its configuration."""
    choices = arm.get("choices") or {}
    config = arm.get("config") or {}
    settings = {}
    # Options come first: they are the words in which a user thinks of an arm.
    for group, option in choices.items():
        if group not in _NOT_OF_AN_ARM:
            settings[group] = str(option)
    for key, value in _leaves(config):
        group = key.partition(".")[0]
        # Where converted weights are stored differs between machines and changes no figure.
        if group in _NOT_OF_AN_ARM or key == "model.store":
            continue
        settings.setdefault(key, as_text(value))
    return settings


def varying(arms: Sequence[Settings]) -> list[str]:
    """Return the keys whose values differ among arms.

    A key that follows from its group's option (`cache.max_len` from `cache`) counts only where it
    differs among arms of the same option.

    Args:
        arms: the settings of each arm; empty settings stand for an arm that is not there.
    """
    present = [settings for settings in arms if settings]
    keys: dict[str, None] = {}
    for settings in present:
        keys.update(dict.fromkeys(settings))
    return [key for key in keys if _varies(key, present)]


def _varies(key: str, arms: Sequence[Settings]) -> bool:
    group, _, below_the_group = key.partition(".")
    # cache=fixed with max_len 64 and cache=none without one: `cache.max_len` does not vary, since
    # `cache` says it already. With cache=fixed at 64 and at 128 it does.
    value_of_option: dict[str, str | None] = {}
    for settings in arms:
        option = settings.get(group, "") if below_the_group else ""
        value = settings.get(key)
        # A key that one of them lacks differs from any value that another has.
        first = value_of_option.setdefault(option, value)
        if value != first:
            return True
    return False


def differences(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return `{setting: {arm: value}}` of what the arms of one run differ in."""
    settings = {}
    for name, arm in arms.items():
        settings[name] = settings_of(arm)
    # Both arms are named by the same keys, though one of them may lack a key.
    different = {}
    for key in varying(list(settings.values())):
        different[key] = {}
        for name in arms:
            different[key][name] = settings[name].get(key, "-")
    return different


def sides(arms: Mapping[str, Mapping[str, Any]], *, most: int) -> list[str]:
    """Describe the candidate and the baseline by what they differ in.

    Args:
        arms: both arms by name.
        most: how many settings are named of each.

    Returns:
        Two texts such as `cache=fixed` and `cache=none`; none where the arms are the same.
    """
    candidate: dict[str, str] = {}
    baseline: dict[str, str] = {}
    for key, values in differences(arms).items():
        # The first settings are options, and say more than the keys below them.
        if len(candidate) < most:
            candidate[key] = values["candidate"]
            baseline[key] = values["baseline"]
    if not candidate:
        return []
    return [as_overrides(candidate), as_overrides(baseline)]


def arm_name(arms: Mapping[str, Mapping[str, Any]], arm: str, *, most: int = 2) -> str:
    """Name an arm by what it differs in from the other: `candidate (cache=fixed)`.

    Args:
        arms: all arms of the run, by name.
        arm: which of them to name.
        most: how many settings are named; dots stand for the others.
    """
    own = []
    for key, values in differences(arms).items():
        # A key that only the other arm has is no part of this one's name.
        value = values[arm]
        if value != "-":
            own.append(f"{key}={value}")
    if not own:
        return arm
    shown = own[:most]
    if len(own) > most:
        shown.append("…")
    return f"{arm} ({', '.join(shown)})"


def as_overrides(settings: Mapping[str, Any]) -> str:
    """Write settings as they are typed: `cache=fixed jit=aot`."""
    overrides = []
    for key, value in settings.items():
        overrides.append(f"{key}={value}")
    return " ".join(overrides)


def as_text(value: Any) -> str:
    """Write a value as the command line has it: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of everything below a section."""
    for name, value in section.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
