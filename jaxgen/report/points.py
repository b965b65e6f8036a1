"""Points: a run, or each case of a run with a grid, with its settings; what tables and plots have their rows from."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun
from jaxgen.results.reading import Trial
from jaxgen.specs.experiment import SHARED_SLOTS

_UNMEASURED = [slot for slot in SHARED_SLOTS if slot != "measure"]
"""Groups that do not say what an arm is, or how much it was measured."""


@dataclasses.dataclass(frozen=True)
class Point:
    """What one verdict is about.

    Attributes:
        params: the case's; empty where the run has no cases.
        block: where agreement, comparison and verdict stand: the result, or the case.
        settings: what tells this point from the others of the report, as text.
    """

    run: StoredRun
    case: int
    params: Mapping[str, Any]
    block: Mapping[str, Any]
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """The facts of each arm; a case's own in place of the run's."""
        return {
            name: {**arm, **self.block["arms"].get(name, {})}
            for name, arm in self.run.result["arms"].items()
        }

    @property
    def verdict(self) -> str | None:
        """None where there was nothing to judge."""
        return self.block.get("verdict") if self.run.result["status"] == "completed" else None

    @property
    def comparison(self) -> Mapping[str, Any]:
        """Empty unless the verdict is one that has a ratio."""
        return self.block.get("comparison", {}) if self.verdict in formatting.SPOKEN else {}

    @property
    def primary(self) -> str | None:
        """The metric that the verdict is about."""
        return next(iter(self.arms["candidate"].get("metrics", {})), None)

    @property
    def ratio(self) -> Mapping[str, Any] | None:
        """The comparison of the primary metric."""
        return self.comparison.get(self.primary) if self.primary else None

    @property
    def trials(self) -> list[Trial]:
        """The point's own trials."""
        return [trial for trial in self.run.trials if trial.case == self.case]

    @property
    def margin(self) -> float | None:
        """The smallest difference that counts, as a share."""
        own = number_at(self.block, "measurement", "margin")
        return number_at(self.run.result, "measurement", "margin") if own is None else own

    @property
    def label(self) -> str:
        """The settings in words; the run's name where nothing varies."""
        return " ".join(f"{key}={value}" for key, value in self.settings.items()) or self.run.name

    def arm_label(self, arm: str, *, without: str | None = None) -> str:
        """An arm by the settings of the point that are its own, the case's first."""
        mine = [key for key in self.settings if key.startswith("baseline.") == (arm == "baseline")]
        keys = dict.fromkeys([*self.params, *(key for key in mine if key not in self.params)])
        told = [
            f"{key.removeprefix('baseline.')}={self.settings[key]}"
            for key in keys
            if key in self.settings
        ]
        hidden = (
            None
            if without is None
            else f"{without.removeprefix('baseline.')}={self.settings.get(without)}"
        )
        return " ".join([arm, *(each for each in told if each != hidden)])


def points_of(runs: Sequence[StoredRun]) -> list[Point]:
    """Every case of every run, each with the settings in which they differ: of the candidate, then of the baseline."""
    points = [
        Point(run, number, case.get("params", {}) if case is not run.result else {}, case)
        for run in runs
        for number, case in enumerate(run.result.get("cases") or [run.result])
    ]
    candidates = [_described(point.arms["candidate"]) for point in points]
    baselines = [_described(point.arms.get("baseline", {})) for point in points]
    own = _told_once(varying(candidates), candidates)
    beside = [
        key
        for key in varying(baselines)
        if any(b.get(key) != c.get(key) for b, c in _both(baselines, candidates))
    ]
    params = list(dict.fromkeys(key for point in points for key in point.params))
    named = []
    for point, candidate, baseline in zip(points, candidates, baselines, strict=True):
        settings = {key: candidate[key] for key in own if key in candidate}
        settings |= {f"baseline.{key}": baseline[key] for key in beside if key in baseline}
        settings |= {key: as_text(point.params[key]) for key in params if key in point.params}
        named.append(dataclasses.replace(point, settings=settings))
    return named


def _told_once(keys: Sequence[str], described: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys without those that hold, at every point, the same number as an earlier one: they vary together."""
    kept: dict[Any, str] = {}
    for key in keys:
        values = tuple(each.get(key, "") for each in described)
        numbers = all(value.replace(".", "", 1).isdigit() for value in values)
        kept.setdefault(values if numbers else key, key)
    return list(kept.values())


def _both(
    baselines: Sequence[dict[str, str]], candidates: Sequence[dict[str, str]]
) -> Iterator[tuple[dict, dict]]:
    return ((b, c) for b, c in zip(baselines, candidates, strict=True) if b)


def differences(point: Point) -> dict[str, dict[str, str]]:
    """`{setting: {arm: value}}` of what the arms of a point differ in."""
    described = {name: _described(arm) for name, arm in point.arms.items()}
    keys = varying(list(described.values()))
    return {key: {name: each.get(key, "-") for name, each in described.items()} for key in keys}


def arm_name(point: Point, arm: str, *, most: int = 2) -> str:
    """`candidate (cache=fixed)`: an arm by what it differs in from the other, so many settings at most."""
    told = [
        f"{key}={values[arm]}" for key, values in differences(point).items() if values[arm] != "-"
    ]
    return f"{arm} ({', '.join(told[:most])}{', …' if len(told) > most else ''})" if told else arm


def varying(described: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys whose values differ.

    A key that follows from its group's option (`cache.max_len` from `cache`) counts only where it differs among arms
    of the same option.
    """
    known = [each for each in described if each]
    keys = dict.fromkeys(key for each in known for key in each)
    found = []
    for key in keys:
        group, _, leaf = key.partition(".")
        values: dict[str | None, set[str | None]] = {}
        for each in known:
            values.setdefault(each.get(group) if leaf else None, set()).add(each.get(key))
        if any(len(alike) > 1 for alike in values.values()):
            found.append(key)
    return found


def _described(arm: Mapping[str, Any]) -> dict[str, str]:
    """An arm's options and, below them, every key of its configuration, as text."""
    choices, config = arm.get("choices") or {}, arm.get("config") or {}
    told = {group: str(option) for group, option in choices.items() if group not in _UNMEASURED}
    for key, value in _leaves(config):
        if key.partition(".")[0] not in _UNMEASURED and key != "model.store" and key not in told:
            told[key] = as_text(value)
    return told


def _leaves(block: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        elif not isinstance(value, Mapping):
            yield f"{above}{key}", value


def as_text(value: Any) -> str:
    """A setting as the command line writes it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def at(block: Any, *path: str) -> Any:
    """What stands at the end of a path of keys; None where a part of it is not there."""
    for key in path:
        block = block.get(key) if isinstance(block, Mapping) else None
    return block


def number_at(block: Any, *path: str) -> float | None:
    """The same of a number: None where it is anything else."""
    value = at(block, *path)
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if known else None


def measured_soundly(point: Point) -> bool:
    """Whether its figures may stand beside others: the run ended, and nothing spoilt the measurement."""
    return (
        point.run.result["status"] == "completed"
        and point.verdict != "invalid"
        and point.primary is not None
    )


def median_of(arm: Mapping[str, Any], metric: str | None) -> float | None:
    """The median of an arm's metric."""
    return number_at(arm, "metrics", metric, "median") if metric else None


def level(arm: Mapping[str, Any], metric: str | None) -> str:
    """`955 tokens/s`, `3.29 ms`: the median with its unit."""
    value = median_of(arm, metric)
    if value is None or metric is None:
        return "unknown"
    unit = arm["metrics"][metric]["unit"]
    return (
        f"{formatting.number(1e3 * value, digits=3)} ms"
        if unit == "s"
        else f"{formatting.number(value, digits=3)} {unit}"
    )
