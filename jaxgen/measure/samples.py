"""The trials of one case, all processes together: summaries, comparison, compiles. No jax here."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeGuard

from jaxgen.measure.drift import drift
from jaxgen.measure.interval import Centres
from jaxgen.measure.outliers import outliers
from jaxgen.measure.spread import block_means
from jaxgen.measure.start_spread import SHIPPED, StartSpread
from jaxgen.measure.statistics import (
    Pair,
    centres_of_pairs,
    compare_pairs,
    geometric_mean,
    nested_logs,
    summarise,
)
from jaxgen.results.schema import Comparison, Compile, MeasuredArm, Metric, TrialRow


class Samples:
    """Every trial that was made, the void ones too.

    Args:
        arms: their names.
        metrics: {name: {unit, better}} of the workload; the first is what the verdict is about.
        comparable: those that mean the same in both arms; empty is all.
        start: how far equal arms differ from start to start.

    Attributes:
        start: the same.
    """

    def __init__(
        self,
        arms: Iterable[str],
        metrics: Mapping[str, Mapping[str, str]],
        *,
        comparable: Collection[str] = (),
        start: StartSpread = SHIPPED,
    ):
        self._arms = tuple(arms)
        self._metrics: dict[str, Any] = {}
        for name, facts in metrics.items():
            self._metrics[name] = dict(facts)
        self._comparable = comparable or tuple(self._metrics)
        self._trials: list[TrialRow] = []
        self.start = start

    @property
    def primary(self) -> str:
        """The metric that the verdict is about."""
        return next(iter(self._metrics))

    def add(self, row: TrialRow) -> None:
        """Add one trial."""
        self._trials.append(row.copy())

    def valid(self, arm: str) -> list[TrialRow]:
        """Return the trials of one arm that count, in their order."""
        trials = self._of_arm(arm)
        return [trial for trial in trials if not trial["void"]]

    def _of_arm(self, arm: str) -> list[TrialRow]:
        return [trial for trial in self._trials if trial["arm"] == arm]

    def summaries(self) -> dict[str, MeasuredArm]:
        """Return the figures of every arm."""
        return {arm: self.summary(arm) for arm in self._arms}

    def summary(self, arm: str) -> MeasuredArm:
        """Return the figures of one arm; `calls` are seconds, call by call."""
        trials = self.valid(arm)
        # Void trials count nowhere but in `compile`: their time is that of a compiler.
        metrics: dict[str, Metric] = {}
        for name, facts in self._metrics.items():
            samples = [trial["metrics"][name] for trial in trials]
            metrics[name] = summarise(samples, **facts)
            metrics[name]["geometric_mean"] = _geometric_mean(trials, name)
        call_s: list[float | None] = []
        for trial in trials:
            call_s += trial["call_s"]
        calls = summarise(call_s, unit="s", better="lower")
        return {"metrics": metrics, "calls": calls, "compile": self.compiles(arm)}

    def compiles(self, arm: str) -> Compile:
        """Return what one arm compiled in its trials; `warm` counts the void trials too."""
        trials = self._of_arm(arm)
        valid = self.valid(arm)
        functions: Counter[str] = Counter()
        for trial in valid:
            functions.update(trial["functions"])
        warm = None
        if trials:
            # A trial is void because it compiled, which is just what this asks.
            warm = not any(trial["compile_events"] for trial in trials)
        return {
            "events_per_trial": [trial["compile_events"] for trial in valid],
            "warm": warm,
            "functions": dict(functions),
            "void_trials": sum(trial["void"] for trial in trials),
        }

    def comparison(self) -> dict[str, Comparison]:
        """Return the comparison of each metric over all processes.

        It is empty while there is no pair, or with one arm alone.
        """
        compared = {}
        for name, facts in self._metrics.items():
            if name not in self._comparable:
                continue
            pairs = self._pairs(name)
            better = facts["better"]
            if pairs:
                compared[name] = compare_pairs(pairs, better=better, start=self.start)
        return compared

    def centres(self) -> Centres | None:
        """Return where each pair of processes lies in the primary metric, by now.

        This is what the stopping rule needs after each block: the other metrics, and what a
        comparison has besides, can wait. None while there is no interval.
        """
        if self.primary not in self._comparable:
            return None
        better = self._metrics[self.primary]["better"]
        return centres_of_pairs(self._pairs(self.primary), better=better)

    def block_means(self) -> list[float]:
        """Return the mean log ratio of each block in the primary metric, in their order."""
        better = self._metrics[self.primary]["better"]
        means: list[float] = []
        for process in nested_logs(self._pairs(self.primary), better):
            of_blocks, _ = block_means(process)
            means += of_blocks.tolist()
        return means

    def drift(self) -> dict[str, Any]:
        """Return whether an arm became faster or slower from its first trial to its last."""
        return drift(self._positive_trials(), self.primary)

    def outliers(self) -> list[dict[str, Any]]:
        """Return the trials that lie far from their arm's others; they count like all others."""
        return outliers(self._positive_trials(), self.primary)

    def problems(self) -> list[str]:
        """Return what cannot be, if the clocks and the bookkeeping are right."""
        problems = []
        counts = {}
        for arm in self._arms:
            counts[arm] = len(self.valid(arm))
        # A void trial that ended the run leaves its partner alone; else the counts are equal.
        any_void = any(trial["void"] for trial in self._trials)
        numbers = set(counts.values())
        if len(numbers) > 1 and not any_void:
            problems.append(f"the arms have different numbers of trials: {counts}")
        for arm in self._arms:
            for trial in self.valid(arm):
                problems += _problems_of(arm, trial)
        return problems

    def _positive_trials(self) -> list[TrialRow]:
        """Leave out trials whose primary metric has no logarithm: `problems` names them."""
        trials = []
        for trial in self._trials:
            value = trial["metrics"][self.primary]
            if value is None or value > 0:
                trials.append(trial)
        return trials

    def _pairs(self, metric: str) -> list[Pair]:
        """Return the pairs of which both arms have a valid trial, with a ratio."""
        if len(self._arms) < 2:
            return []
        # By place and not by order: a trial that is made again has the place of its void one.
        baseline_of = {}
        for trial in self.valid("baseline"):
            baseline_of[_place(trial)] = trial
        pairs = []
        for trial in self.valid("candidate"):
            partner = baseline_of.get(_place(trial))
            if partner is None:
                continue
            candidate = trial["metrics"][metric]
            baseline = partner["metrics"][metric]
            # A value that is not positive has no ratio; `problems` names it.
            if _is_positive(candidate) and _is_positive(baseline):
                pair = Pair(
                    process=trial["process"],
                    block=trial["block"],
                    pair=trial["pair"],
                    baseline=baseline,
                    candidate=candidate,
                )
                pairs.append(pair)
        return pairs


def _is_positive(value: float | None) -> TypeGuard[float]:
    return value is not None and value > 0


def _geometric_mean(trials: Iterable[TrialRow], metric: str) -> float | None:
    """Return the mean of the trials that have the metric."""
    values = []
    for trial in trials:
        value = trial["metrics"][metric]
        if value is None:
            continue
        process, block = trial["process"], trial["block"]
        values.append((process, block, value))
    return geometric_mean(values)


def _place(trial: TrialRow) -> tuple[int, int, int]:
    return trial["process"], trial["block"], trial["pair"]


def _problems_of(arm: str, trial: TrialRow) -> list[str]:
    values = trial["metrics"]
    where = f"in block {trial['block']}: {values}"
    problems = []
    known = [value for value in values.values() if value is not None]
    if not all(value > 0 for value in known):
        problems.append(f"{arm} has a metric that is not positive {where}")
    ttft_s = values.get("ttft_s")
    latency_s = values.get("latency_s")
    if ttft_s is None or latency_s is None:
        return problems
    if ttft_s > max(latency_s, 0):
        problems.append(f"{arm} has its first token after its last {where}")
    return problems
