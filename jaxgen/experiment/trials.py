"""The trials of one case in one pair of processes: blocks of balanced pairs, voids repeated."""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from jaxgen.executor.pool import Pool
from jaxgen.measure import schedule
from jaxgen.measure.samples import Samples
from jaxgen.results.schema import TrialRow
from jaxgen.specs.arm import Arm, names_of
from jaxgen.specs.measure import Measure

MAX_VOIDS = 3
"""So many trials spoilt by a compile make the measurement invalid."""

Row = dict[str, Any]


class Trials:
    """Drives the workers through the schedule.

    Args:
        arms: by name.
        pool: their workers.
        samples: get every trial.
        plan: of the measurement.
        case: the number of the case.
        process: the number of the pair of processes.
        first_block: the number of the first block, counted over all processes.
        on_trial: told of each trial as it ends, for the disk.
        on_block: told after each block, with its number and the pairs in it.

    Attributes:
        plan: of the measurement.
        names: what to call each arm in a sentence.
        repeats: calls in a trial, the same in both arms.
        blocks: how many were measured.
        stopped_because: why no further block was measured.
        dirty: what spoilt the measurement.
        notes: what the reader must know of compiles.
    """

    def __init__(
        self,
        arms: Mapping[str, Arm],
        pool: Pool,
        samples: Samples,
        *,
        plan: Measure,
        case: int = 0,
        process: int = 0,
        first_block: int = 0,
        on_trial: Callable[[TrialRow], None],
        on_block: Callable[[int, int], None],
    ):
        self._arms = arms
        self._pool = pool
        self._samples = samples
        self._case = case
        self._process = process
        self._first_block = first_block
        self._on_trial = on_trial
        self._on_block = on_block
        self._voids = dict.fromkeys(arms, 0)
        self._answers: dict[str, list] = {arm: [] for arm in arms}
        self.plan = plan
        self.names = names_of(arms)
        self.repeats = 1
        self.blocks = 0
        self.stopped_because: str | None = None
        self.dirty: list[str] = []
        self.notes: list[str] = []

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
        for number in itertools.count():
            self._block(self._first_block + number, pairs=pairs)
            self.blocks = number + 1
            self._on_block(number, pairs)
            self.stopped_because = (
                "the measurement is spoilt"
                if self._too_many_voids()
                else schedule.enough(
                    self._samples.compare(process=self._process).get(self._samples.primary),
                    blocks_done=self.blocks,
                    blocks=self.plan.blocks,
                    elapsed_s=time.monotonic() - start,
                    max_seconds=self.plan.max_seconds,
                    target_ci=self.plan.target_ci,
                )
            )
            if self.stopped_because:
                break
        self._explain_compiles()

    def changed_outputs(self, answers: Mapping[str, list[Row]]) -> list[str]:
        """Arms that wrote other tokens, or gave other scores, in any trial than in their answers for the agreement."""
        expected = {
            arm: [row.get("tokens", row.get("scores")) for row in rows]
            for arm, rows in answers.items()
        }
        return [
            f"{self.names[arm]} wrote other outputs in the trials than when the outputs were compared"
            for arm in answers
            if any(given != expected[arm] for given in self._answers[arm])
        ]

    def _sized(self, call_s: Mapping[str, float] | None) -> int:
        """Set the repeats; return the pairs in a block, fewer where a full block would eat the whole time."""
        if call_s is None:
            return self.plan.trials
        fast, slow = min(call_s.values()), max(call_s.values())
        least_blocks = min(schedule.MIN_BLOCKS_IN_TIME, self.plan.blocks)
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
                self._pool.call(arm, "move_to_new_buffers")
        for pair, order in enumerate(planned.pairs):
            for position, arm in enumerate(arm for arm in order if arm in self._arms):
                self._trial(arm, block=block, pair=pair, position=position)
                if self._too_many_voids():
                    return

    def _trial(self, arm: str, *, block: int, pair: int, position: int) -> None:
        """One trial that counts; a void one is kept in the file and measured again."""
        while True:
            sample = self._pool.call(arm, "trial", case=self._case, repeats=self.repeats)
            void = (
                bool(sample["compile_events"])
                and not self.short_warmup
                and not self._recompiles(arm)
            )
            row: TrialRow = {
                "process": self._process,
                "block": block,
                "pair": pair,
                "position": position,
                "case": self._case,
                "arm": arm,
                "void": void,
                "repeats": self.repeats,
                "compile_events": sample["compile_events"],
                "functions": sample["functions"],
                "metrics": sample["metrics"],
                "call_s": sample["call_s"],
            }
            self._samples.add(row)
            self._on_trial(row)
            if sample["answers"] not in self._answers[arm]:
                self._answers[arm].append(sample["answers"])
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
            facts = self._samples.summary(arm)["compile"]
            events, name = facts["events_per_trial"], self.names[arm]
            spoilt = sum(bool(count) for count in events)
            functions = ", ".join(sorted(facts["functions"])) or "nothing by name"
            if self._recompiles(arm):
                kinds = len(facts["functions"])
                self.notes.append(
                    f"{name} recompiled {kinds} functions in every trial: {functions}"
                )
            elif self._voids[arm] >= MAX_VOIDS:
                self.dirty.append(
                    f"{name} compiled in {self._voids[arm]} trials although it was warmed up"
                )
            elif spoilt:
                cut = (
                    f"measure.warmup_tokens={self.plan.warmup_tokens}"
                    if self.plan.warmup
                    else "measure.warmup=0"
                )
                self.dirty.append(
                    f"{name} compiled inside the clock in {spoilt} of {len(events)} trials ({max(events)} compile "
                    f"events in the worst), because {cut} leaves shapes of the trials cold"
                )
        if self.short_warmup:
            self.notes.append(
                "the warm-up was shorter than the trials: this shows what that does, and is no way to measure"
            )
