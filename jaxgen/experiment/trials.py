"""The trials of one case in one pair of processes: blocks of balanced pairs, voids repeated."""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from jaxgen.executor.pool import Pool
from jaxgen.experiment import second_clock
from jaxgen.experiment.second_clock import SecondClock
from jaxgen.measure import schedule, stopping
from jaxgen.measure.clock_check import ClockCheck
from jaxgen.measure.samples import Samples
from jaxgen.results.schema import TrialRow
from jaxgen.specs.arm import Arm, names_of
from jaxgen.specs.measure import Measure

MAX_VOIDS = 3
"""So many trials of an arm that compiled make the measurement invalid."""


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
        share: how much of the plan this pair of processes measures; null is all of it.
        on_trial: called with each trial as it ends, for the disk.
        on_block: called after each block, with its number and the pairs in it.

    Attributes:
        repeats: calls in a trial of each arm.
        blocks: how many were measured.
        stopped_because: why no further block was measured.
        dirty: what spoilt the measurement.
        clocks: of each arm, how its clock compares with the parent's.
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
        share: schedule.Share | None = None,
        on_trial: Callable[[TrialRow], None],
        on_block: Callable[[int, int], None],
    ):
        self._arms = arms
        self._pool = pool
        self._samples = samples
        self._plan = plan
        self._case = case
        self._process = process
        self._first_block = first_block
        self._share = share or schedule.whole(plan)
        self._on_trial = on_trial
        self._on_block = on_block
        self._names = names_of(arms)
        self._voids = dict.fromkeys(arms, 0)
        self._distinct_outputs: dict[str, list] = {arm: [] for arm in arms}
        self._second_clock = SecondClock(pool, case=case)
        self.repeats = dict.fromkeys(arms, 1)
        self.blocks = 0
        self.stopped_because: str | None = None
        self.dirty: list[str] = []
        self.clocks: dict[str, ClockCheck] = {}
        self.notes: list[str] = []

    def run(self, *, call_s: Mapping[str, float] | None) -> None:
        """Measure blocks until the schedule says enough.

        Args:
            call_s: what one call of each arm takes, in seconds, for planning; null where the arms
                are not warm.
        """
        pairs = self._plan.trials
        if call_s is not None:
            self.repeats = self._repeats_for(call_s)
            pairs = self._pairs_for(call_s)
        # Asked between blocks, never inside one: the interval is taken over whole blocks.
        start = time.monotonic()
        for number in itertools.count():
            self._block(self._first_block + number, pairs=pairs)
            self._second_clock.after_block()
            self.blocks = number + 1
            self._on_block(number, pairs)
            elapsed_s = time.monotonic() - start
            self.stopped_because = self._reason_to_stop(pairs=pairs, elapsed_s=elapsed_s)
            if self.stopped_because:
                break
        self._explain_compiles()
        self.clocks = self._second_clock.checks()
        self.dirty += second_clock.problems(self.clocks, self._names)

    def changed_outputs(self, outputs: Mapping[str, list[dict[str, Any]]]) -> list[str]:
        """Return a sentence for each arm that wrote something else in a trial.

        Args:
            outputs: of each arm, what it wrote when the outputs were compared.
        """
        sentences = []
        for arm, rows in outputs.items():
            key = self._arms[arm].run.workload.output_key
            expected = [row[key] for row in rows]
            # All answers are kept: an arm that differs in one trial alone is caught.
            if any(written != expected for written in self._distinct_outputs[arm]):
                sentences.append(
                    f"{self._names[arm]} wrote other outputs in the trials than when the outputs "
                    "were compared"
                )
        return sentences

    def _repeats_for(self, call_s: Mapping[str, float]) -> dict[str, int]:
        """Return how often a trial repeats its call, so that the clock can resolve it."""
        least = self._plan.min_trial_s
        min_pairs = self._least_blocks * min(2, self._plan.trials)
        seconds = self._share.seconds
        return schedule.repeats(call_s, min_trial_s=least, max_seconds=seconds, min_pairs=min_pairs)

    def _pairs_for(self, call_s: Mapping[str, float]) -> int:
        """Return the pairs in a block, fewer where full blocks would take the whole time."""
        # With 10 s, at least 4 blocks and pairs of 1 s: 2 pairs in a block, so that 4 blocks fit.
        pair_s = sum(self.repeats[arm] * seconds for arm, seconds in call_s.items())
        affordable = int(self._share.seconds / (self._least_blocks * pair_s))
        return max(1, min(self._plan.trials, affordable))

    @property
    def _least_blocks(self) -> int:
        return self._share.least_blocks(schedule.MIN_BLOCKS_IN_TIME)

    def _reason_to_stop(self, *, pairs: int, elapsed_s: float) -> str | None:
        """Return why no further block is measured; null where one is."""
        if self._too_many_voids():
            return "the measurement is spoilt"
        # One interval of one metric decides; the others and the p-value can wait for the end.
        return stopping.enough(
            self._samples.centres(),
            self._samples.start,
            plan=self._plan,
            share=self._share,
            blocks_done=self.blocks,
            pairs=pairs,
            elapsed_s=elapsed_s,
        )

    def _block(self, block: int, *, pairs: int) -> None:
        """Measure a few pairs on one placement of the weights and caches in memory."""
        planned = schedule.block_plan(block, pairs=pairs, seed=self._plan.seed)
        # Where buffers lie is worth 1 to 3 %, so every block draws a new place for them.
        for arm in planned.placement:
            if arm in self._arms:
                self._pool.call(arm, "move_to_new_buffers")
        for pair, order in enumerate(planned.pairs):
            measured = [arm for arm in order if arm in self._arms]
            for position, arm in enumerate(measured):
                self._trial(arm, block=block, pair=pair, position=position)
                if self._too_many_voids():
                    return

    def _trial(self, arm: str, *, block: int, pair: int, position: int) -> None:
        """Make one trial that counts; a void one is kept in the file and made again."""
        repeats = self.repeats[arm]
        while True:
            trial, seen = self._second_clock.trial(arm, repeats=repeats)
            void = self._is_void(arm, trial["compile_events"])
            row: TrialRow = {
                "process": self._process,
                "block": block,
                "pair": pair,
                "position": position,
                "case": self._case,
                "arm": arm,
                "void": void,
                "repeats": repeats,
                "compile_events": trial["compile_events"],
                "functions": trial["functions"],
                "metrics": trial["metrics"],
                "call_s": trial["call_s"],
                **seen,
            }
            self._samples.add(row)
            self._on_trial(row)
            if trial["answers"] not in self._distinct_outputs[arm]:
                self._distinct_outputs[arm].append(trial["answers"])
            if not void:
                self._second_clock.add(arm, trial, seen)
                return
            self._voids[arm] += 1
            if self._too_many_voids():
                return

    def _is_void(self, arm: str, compile_events: int) -> bool:
        """Return whether a trial compiled although its arm should be warm."""
        # What a short warm-up compiles is shown, not hidden by a repetition.
        should_be_warm = not self._plan.short_warmup and not self._recompiles(arm)
        return compile_events > 0 and should_be_warm

    def _recompiles(self, arm: str) -> bool:
        return self._arms[arm].run.jit.recompiles

    def _too_many_voids(self) -> bool:
        return max(self._voids.values()) >= MAX_VOIDS

    def _explain_compiles(self) -> None:
        """Say what was compiled inside the clock, and whether that spoils the measurement."""
        for arm in self._arms:
            self._explain_compiles_of(arm)
        if self._plan.short_warmup:
            self.notes.append(
                "the warm-up was shorter than the trials: this shows what that does, and is no way "
                "to measure"
            )

    def _explain_compiles_of(self, arm: str) -> None:
        name = self._names[arm]
        compiled = self._samples.compiles(arm)
        events, functions = compiled["events_per_trial"], compiled["functions"]
        spoilt = sum(count > 0 for count in events)
        if self._recompiles(arm):
            # Its nature, such as that of jit=partial: timed as it is, and said.
            listed = ", ".join(sorted(functions)) or "nothing by name"
            self.notes.append(
                f"{name} recompiled {len(functions)} functions in every trial: {listed}"
            )
        elif self._voids[arm] >= MAX_VOIDS:
            self.dirty.append(
                f"{name} compiled in {self._voids[arm]} trials although it was warmed up"
            )
        elif spoilt:
            cause = "measure.warmup=0"
            if self._plan.warmup:
                cause = f"measure.warmup_tokens={self._plan.warmup_tokens}"
            self.dirty.append(
                f"{name} compiled inside the clock in {spoilt} of {len(events)} trials "
                f"({max(events)} compile events in the worst), because {cause} leaves shapes of "
                "the trials cold"
            )
