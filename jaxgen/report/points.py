"""The points of a report: each run, or each case of a run with a grid, with its own settings.

Tables have a row and plots have a mark for each point.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from jaxgen.report.lookup import number_at
from jaxgen.report.settings import Settings, as_overrides, as_text, settings_of, varying
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun
from jaxgen.results.reading import Trial
from jaxgen.results.schema import ArmResult, CaseResult, Comparison, Result

_BASELINE = "baseline."
"""The prefix of a setting that is the baseline's own."""


@dataclasses.dataclass(frozen=True)
class Point:
    """What one verdict is about.

    Attributes:
        run: the run that it belongs to.
        case: the number of the case; 0 where the run has no cases.
        params: the parameters of the case; empty where the run has no cases.
        section: the part of the result with its agreement, comparison and verdict: the result
            itself, or one of its cases.
        settings: what tells this point from the others of the report.
    """

    run: StoredRun
    case: int
    params: Mapping[str, Any]
    section: Result | CaseResult
    settings: Settings = dataclasses.field(default_factory=dict)

    @property
    def arms(self) -> dict[str, ArmResult]:
        """The arms by name; where a case has figures of its own, they replace the run's."""
        arms = {}
        for name, arm in self.run.result["arms"].items():
            # A case has metrics of its own; weights, memory and startup are the run's.
            of_case = self.section["arms"].get(name, {})
            arms[name] = cast(ArmResult, {**arm, **of_case})
        return arms

    @property
    def verdict(self) -> str | None:
        """The verdict; None where there was nothing to judge, or the run failed."""
        if self.run.result["status"] != "completed":
            return None
        return self.section.get("verdict")

    @property
    def comparison(self) -> Mapping[str, Comparison]:
        """The comparison of each metric; empty unless the verdict is one that has a ratio."""
        # Figures of an invalid measurement stay on disk, and no speed-up is told from them.
        if self.verdict not in formatting.SPOKEN:
            return {}
        return self.section.get("comparison", {})

    @property
    def primary(self) -> str | None:
        """The metric that the verdict is about."""
        candidate = self.arms["candidate"]
        # A workload lists the metric of its verdict first.
        metrics = candidate.get("metrics", {})
        return next(iter(metrics), None)

    @property
    def ratio(self) -> Comparison | None:
        """The comparison of the primary metric."""
        metric = self.primary
        if metric is None:
            return None
        return self.comparison.get(metric)

    @property
    def trials(self) -> list[Trial]:
        """The trials of this point alone."""
        own = []
        for trial in self.run.trials:
            if trial.case == self.case:
                own.append(trial)
        return own

    @property
    def margin(self) -> float | None:
        """The smallest difference that counts, as a share."""
        # Each case has its own, or the run has one for all.
        margin = number_at(self.section, "measurement", "margin")
        if margin is None:
            return number_at(self.run.result, "measurement", "margin")
        return margin

    @property
    def label(self) -> str:
        """The settings as they are typed; the run's name where nothing varies."""
        return as_overrides(self.settings) or self.run.name

    def arm_label(self, arm: str, *, without: str | None = None) -> str:
        """Name an arm by those settings of the point that are its own, the case's parameters first.

        Args:
            arm: `candidate` or `baseline`.
            without: a setting that is not named, such as the one that a plot has as its axis.
        """
        keys = list(self.params)
        for key in self.settings:
            is_of_baseline = key.startswith(_BASELINE)
            if is_of_baseline == (arm == "baseline"):
                keys.append(key)
        hidden = None
        if without is not None:
            # As text and not by its key: on an axis of `cache.max_len` the baseline's own
            # `baseline.cache.max_len` is not named either, where it has the same value.
            hidden = self._override(without)
        parts = [arm]
        for key in dict.fromkeys(keys):
            override = self._override(key)
            if key in self.settings and override != hidden:
                parts.append(override)
        return " ".join(parts)

    def _override(self, key: str) -> str:
        """Write a setting as it is typed for the arm itself, without `baseline.` before it."""
        name = key.removeprefix(_BASELINE)
        return f"{name}={self.settings.get(key)}"


def points_of(runs: Sequence[StoredRun]) -> list[Point]:
    """Return every case of every run, each with the settings in which they differ.

    Args:
        runs: those of the report, in its order.

    Returns:
        The points in the order of the runs and their cases. Their settings are the candidate's,
        then the baseline's with the prefix `baseline.`, then the parameters of the cases.
    """
    points = _cases_of(runs)
    candidates: list[Settings] = []
    baselines: list[Settings] = []
    params: dict[str, None] = {}
    for point in points:
        arms = point.arms
        candidates.append(settings_of(arms["candidate"]))
        baselines.append(settings_of(arms.get("baseline", {})))
        params.update(dict.fromkeys(point.params))
    candidate_keys = _without_duplicates(varying(candidates), candidates)
    baseline_keys = _of_the_baseline_alone(baselines, candidates)
    # What is the same at every point is left out: it says nothing of any of them.
    named = []
    for point, candidate, baseline in zip(points, candidates, baselines, strict=True):
        settings = _only(candidate_keys, candidate)
        # The baseline's settings follow the candidate's, so that columns of one arm stand together.
        for key, value in _only(baseline_keys, baseline).items():
            settings[f"{_BASELINE}{key}"] = value
        for key, value in _only(params, point.params).items():
            settings[key] = as_text(value)
        named.append(dataclasses.replace(point, settings=settings))
    return named


def whole_run(run: StoredRun) -> Point:
    """Return a run as one point, whether or not it has cases."""
    return Point(run, 0, {}, run.result)


def measured_soundly(point: Point) -> bool:
    """Whether its figures may stand beside others: its run ended, and nothing spoilt it."""
    if point.run.result["status"] != "completed":
        return False
    if point.verdict == "invalid":
        return False
    return point.primary is not None


def _only(keys: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some values that have one of the keys, in the order of the keys."""
    return {key: values[key] for key in keys if key in values}


def _cases_of(runs: Sequence[StoredRun]) -> list[Point]:
    """Return the points of runs without settings: those depend on what the others are."""
    points = []
    for run in runs:
        cases = run.result.get("cases")
        if not cases:
            # A run without a grid has its metrics where else the cases are.
            points.append(whole_run(run))
            continue
        for number, case in enumerate(cases):
            params = case.get("params", {})
            points.append(Point(run, number, params, case))
    return points


def _without_duplicates(keys: Sequence[str], points: Sequence[Settings]) -> list[str]:
    """Leave out keys that hold the same number as an earlier key at every point.

    Such keys vary together (`prompts.length` with `cache.max_len`), and one column says it all.
    Words are not compared: two options may share a name by chance.
    """
    different = []
    seen: set[tuple[str, ...]] = set()
    for key in keys:
        values = tuple(settings.get(key, "") for settings in points)
        if values in seen:
            continue
        # Prompts of 16, 32 and 64 with caches of 16, 32 and 64 have one column for both.
        if all(map(_is_number, values)):
            seen.add(values)
        different.append(key)
    return different


def _is_number(text: str) -> bool:
    digits = text.replace(".", "", 1)
    return digits.isdigit()


def _of_the_baseline_alone(
    baselines: Sequence[Settings], candidates: Sequence[Settings]
) -> list[str]:
    """Return the keys that vary among baselines, and not because the candidate's do."""
    keys: dict[str, None] = {}
    # Without overrides the baseline's batch size is the candidate's: both would say it twice.
    for key in varying(baselines):
        for baseline, candidate in zip(baselines, candidates, strict=True):
            # Empty settings stand for a point that has no baseline.
            if baseline and baseline.get(key) != candidate.get(key):
                keys[key] = None
    return list(keys)
