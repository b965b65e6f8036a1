"""The trials of one case, all processes together, and what they say: summaries, comparison, compiles. No jax here."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jaxgen.measure.drift import drift
from jaxgen.measure.outliers import outliers
from jaxgen.measure.statistics import Pair, compare, interval, summarise
from jaxgen.results.schema import Comparison, MeasuredArm


class Samples:
    """Every trial that was made, the void ones too.

    Args:
        arms: their names.
        metrics: {name: {unit, better}} of the workload; the first is what the verdict is about.
        comparable: those that mean the same in both arms; empty is all.
    """

    def __init__(
        self,
        arms: Iterable[str],
        metrics: Mapping[str, Mapping[str, str]],
        *,
        comparable: Collection[str] = (),
    ):
        self._arms = tuple(arms)
        self._metrics: dict[str, dict[str, Any]] = {
            name: dict(facts) for name, facts in metrics.items()
        }
        self._comparable = comparable or tuple(self._metrics)
        self._trials: list[dict[str, Any]] = []

    @property
    def primary(self) -> str:
        """The metric that the verdict is about."""
        return next(iter(self._metrics))

    def add(self, row: Mapping[str, Any]) -> None:
        """One trial: its place, `arm`, `metrics`, `call_s`, `compile_events`, `functions`, `void`."""
        self._trials.append(dict(row))

    def valid(self, arm: str) -> list[dict[str, Any]]:
        """The trials of one arm that count, in their order."""
        return [trial for trial in self._trials if trial["arm"] == arm and not trial["void"]]

    def summaries(self) -> dict[str, MeasuredArm]:
        """Return the figures of every arm."""
        return {arm: self.summary(arm) for arm in self._arms}

    def summary(self, arm: str) -> MeasuredArm:
        """`{metrics, calls, compile}` of one arm, as they stand in the result; `calls` are seconds, call by call."""
        trials, every = self.valid(arm), [trial for trial in self._trials if trial["arm"] == arm]
        functions: dict[str, int] = {}
        for trial in trials:
            for function, count in trial["functions"].items():
                functions[function] = functions.get(function, 0) + count
        events = [trial["compile_events"] for trial in trials]
        return {
            "metrics": {
                metric: summarise([trial["metrics"][metric] for trial in trials], **facts)
                for metric, facts in self._metrics.items()
            },
            "calls": summarise(
                [call_s for trial in trials for call_s in trial["call_s"]], unit="s", better="lower"
            ),
            "compile": {
                "events_per_trial": events,
                "warm": not any(trial["compile_events"] for trial in every) if every else None,
                "functions": functions,
                "void_trials": sum(trial["void"] for trial in every),
            },
        }

    def compare(self, *, process: int | None = None) -> dict[str, Comparison]:
        """`{metric: comparison}`, over all processes or one; empty while there is no pair, or with one arm alone."""
        if len(self._arms) < 2:
            return {}
        compared = {}
        for metric, facts in self._metrics.items():
            if metric not in self._comparable:
                continue
            pairs = [pair for pair in self._pairs(metric) if process in (None, pair.process)]
            if pairs:
                compared[metric] = compare(pairs, better=facts["better"])
        return compared

    def interval(self, *, process: int) -> dict[str, Any] | None:
        """Return `{ratio, ci95}` of the primary metric in one process; None where nothing pairs."""
        if len(self._arms) < 2 or self.primary not in self._comparable:
            return None
        pairs = [pair for pair in self._pairs(self.primary) if pair.process == process]
        if not pairs:
            return None
        return interval(pairs, better=self._metrics[self.primary]["better"])

    def drift(self) -> dict[str, Any]:
        """Whether an arm became faster or slower from its first trial to its last."""
        return drift(self._sound, self.primary)

    def outliers(self) -> list[dict[str, Any]]:
        """The trials that lie far from their arm's others; they are named, and counted like all others."""
        return outliers(self._sound, self.primary)

    def problems(self) -> list[str]:
        """What cannot be, if the clocks and the bookkeeping are right."""
        found = []
        counts = {arm: len(self.valid(arm)) for arm in self._arms}
        if len(set(counts.values())) > 1 and not any(trial["void"] for trial in self._trials):
            found.append(f"the arms have different numbers of trials: {counts}")
        for arm in self._arms:
            for trial in self.valid(arm):
                values = trial["metrics"]
                if any(value is not None and not value > 0 for value in values.values()):
                    found.append(
                        f"{arm} has a metric that is not positive in block {trial['block']}: {values}"
                    )
                ttft_s, latency_s = values.get("ttft_s"), values.get("latency_s")
                if ttft_s is not None and latency_s is not None and ttft_s > max(latency_s, 0):
                    found.append(
                        f"{arm} has its first token after its last in block {trial['block']}: {values}"
                    )
        return found

    @property
    def _sound(self) -> list[dict[str, Any]]:
        """Without the trials whose primary metric has no logarithm: `problems` names them."""
        values = [(trial, trial["metrics"][self.primary]) for trial in self._trials]
        return [trial for trial, value in values if value is None or value > 0]

    def _pairs(self, metric: str) -> list[Pair]:
        by_arm = {
            arm: {
                (t["process"], t["block"], t["pair"]): t["metrics"][metric] for t in self.valid(arm)
            }
            for arm in self._arms
        }
        shared = [key for key in by_arm["candidate"] if key in by_arm["baseline"]]
        values = [(key, by_arm["baseline"][key], by_arm["candidate"][key]) for key in shared]
        return [
            Pair(*key, baseline=baseline, candidate=candidate)
            for key, baseline, candidate in values
            if _positive(baseline) and _positive(candidate)
        ]


def _positive(value: float | None) -> bool:
    """Whether a ratio can be taken of it; `Samples.problems` names those that are there and are not."""
    return value is not None and value > 0
