"""The trials of a run: blocks of balanced pairs until the interval is good, every sample kept, voids repeated."""

import itertools
import time
from collections.abc import Mapping
from typing import Any

from jaxgen.console import Console
from jaxgen.measure import schedule
from jaxgen.pool import Pool
from jaxgen.record import Record
from jaxgen.spec.arm import Arm

MAX_VOIDS = 3
"""So many trials spoilt by a compile make the measurement invalid."""


class Trials:
    """Drives the workers through the schedule.

    Attributes:
        plan: the `measure` spec, which both arms share.
        names: what to call each arm in a sentence.
        repeats: calls in a trial, the same in both arms.
        stopped_because: why no further block was measured.
        dirty: what spoilt the measurement.
    """

    def __init__(self, arms: Mapping[str, Arm], pool: Pool, record: Record, console: Console):
        self._arms = arms
        self._pool = pool
        self._record = record
        self._console = console
        self._voids = dict.fromkeys(arms, 0)
        self._tokens: dict[str, list] = {arm: [] for arm in arms}
        self.plan = arms["candidate"].run.measure
        self.names = names_of(arms)
        self.repeats = 1
        self.stopped_because: str | None = None
        self.dirty: list[str] = []

    @property
    def short_warmup(self) -> bool:
        """The warm-up was cut short on purpose: compiles in the clock are shown, not repeated."""
        return self.plan.warmup == 0 or self.plan.warmup_tokens is not None

    def run(self, *, call_s: Mapping[str, float] | None) -> None:
        """Measure blocks until the schedule says enough.

        Args:
            call_s: what one call of each arm takes, in seconds, for planning; null where the arms are not warm.
        """
        pairs = self._sized(call_s)
        start = time.monotonic()
        for block in itertools.count():
            self._block(block, pairs=pairs)
            self._record.summarise()
            comparison = self._record.compare()
            self._record.save()
            self.stopped_because = (
                "the measurement is spoilt"
                if self._too_many_voids()
                else schedule.enough(
                    comparison,
                    blocks_done=block + 1,
                    blocks=self.plan.blocks,
                    elapsed_s=time.monotonic() - start,
                    max_seconds=self.plan.max_seconds,
                    target_ci=self.plan.target_ci,
                )
            )
            if self.stopped_because:
                break
        self._explain_compiles()

    def changed_outputs(self, answers: Mapping[str, list[dict]]) -> list[str]:
        """Arms that wrote other tokens in any trial than in their answers for the agreement."""
        return [
            f"{self.names[arm]} wrote other tokens in the trials than when the outputs were compared"
            for arm, rows in answers.items()
            if any(tokens != [row["tokens"] for row in rows] for tokens in self._tokens[arm])
        ]

    def _sized(self, call_s: Mapping[str, float] | None) -> int:
        """Set the repeats; return the pairs in a block, fewer where a full block would eat the whole time."""
        if call_s is None:
            return self.plan.trials
        fast, slow = min(call_s.values()), max(call_s.values())
        least_blocks = min(schedule.MIN_BLOCKS_FOR_TARGET, self.plan.blocks)
        self.repeats = schedule.repeats(
            fast,
            slow,
            min_trial_s=self.plan.min_trial_s,
            max_seconds=self.plan.max_seconds,
            min_pairs=least_blocks * min(2, self.plan.trials),
        )
        pair_s = self.repeats * sum(call_s.values())
        affordable = int(self.plan.max_seconds / (least_blocks * pair_s))
        return max(1, min(self.plan.trials, affordable))

    def _block(self, block: int, *, pairs: int) -> None:
        planned = schedule.block_plan(block, pairs=pairs, seed=self.plan.seed)
        for arm in planned.placement:
            if arm in self._arms:
                self._pool.call(arm, "place")
        for pair, order in enumerate(planned.pairs):
            for position, arm in enumerate(arm for arm in order if arm in self._arms):
                self._console.trial(arm, block=block, pair=pair, pairs=pairs, plan=self.plan)
                self._trial(arm, {"process": 0, "block": block, "pair": pair, "position": position})
                if self._too_many_voids():
                    return

    def _trial(self, arm: str, place: Mapping[str, int]) -> None:
        """One trial that counts; a void one is kept in the file and measured again."""
        while True:
            sample = self._pool.call(arm, "trial", repeats=self.repeats)
            void = bool(sample["events"]) and not self.short_warmup and not self._recompiles(arm)
            self._record.add_trial(
                {
                    **place,
                    "arm": arm,
                    "void": void,
                    "repeats": self.repeats,
                    "compile_events": sample["events"],
                    "functions": sample["functions"],
                    "metrics": sample["metrics"],
                }
            )
            if sample["tokens"] not in self._tokens[arm]:
                self._tokens[arm].append(sample["tokens"])
            if not void:
                return
            self._voids[arm] += 1
            if self._too_many_voids():
                return

    def _recompiles(self, arm: str) -> bool:
        return self._arms[arm].run.jit.recompiles

    def _too_many_voids(self) -> bool:
        return max(self._voids.values()) >= MAX_VOIDS

    def _explain_compiles(self) -> None:
        """Put into words what was compiled inside the clock, and whether that spoils the measurement."""
        for arm in self._arms:
            compile_facts: dict[str, Any] = self._record.result["arms"][arm]["compile"]
            events, name = compile_facts["events_per_trial"], self.names[arm]
            spoilt = sum(bool(count) for count in events)
            functions = ", ".join(sorted(compile_facts["functions"])) or "nothing by name"
            if self._recompiles(arm):
                kinds = len(compile_facts["functions"])
                self._record.note(f"{name} recompiled {kinds} functions in every trial: {functions}")
            elif self._voids[arm] >= MAX_VOIDS:
                self.dirty.append(f"{name} compiled in {self._voids[arm]} trials although it was warmed up")
            elif spoilt:
                cut = f"measure.warmup_tokens={self.plan.warmup_tokens}" if self.plan.warmup else "measure.warmup=0"
                self.dirty.append(
                    f"{name} compiled inside the clock in {spoilt} of {len(events)} trials ({max(events)} compile "
                    f"events in the worst), because {cut} leaves shapes of the trials cold"
                )
        if self.short_warmup:
            self._record.note(
                "the warm-up was shorter than the trials: this shows what that does, and is no way to measure"
            )


def names_of(arms: Mapping[str, Arm]) -> dict[str, str]:
    """What tells the arms apart: the options that differ (`cache=fixed`), else just candidate and baseline."""
    first, *rest = arms.values()
    varying = [group for group in first.choices if any(first.choices[group] != arm.choices.get(group) for arm in rest)]
    groups = [group for group in varying if group not in ("baseline", "experiment")]
    if not groups:
        return {name: f"the {name}" for name in arms}
    return {name: " ".join(f"{group}={arm.choices.get(group)}" for group in groups) for name, arm in arms.items()}
