"""What the parent sees of each trial: its time by the parent's own clock, and the machine's load.

The arms' clocks are held to that one.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, cast

from jaxgen.executor.pool import Pool
from jaxgen.experiment.trial_load import TrialLoad
from jaxgen.measure.clock_check import ClockCheck, TimedTrial, check
from jaxgen.results.record import Record
from jaxgen.results.schema import ClockFacts
from jaxgen.results.schema.trials import Surroundings

MOST_EMPTY = 5
"""So many requests without calls are made of each arm: they take time from the trials."""
LEAST_EMPTY = 3


class SecondClock:
    """Makes and times the requests of one case in one pair of processes.

    Args:
        pool: the workers.
        case: the number of the case.
    """

    def __init__(self, pool: Pool, *, case: int):
        self._pool = pool
        self._case = case
        self._trials: dict[str, list[TimedTrial]] = {}
        self._without_calls: dict[str, list[TimedTrial]] = {}
        self._repeats: dict[str, int] = {}
        self._load: TrialLoad | None = None

    def trial(self, arm: str, *, repeats: int) -> tuple[Any, Surroundings]:
        """Have an arm make a trial.

        Args:
            arm: its name.
            repeats: calls in the trial.

        Returns:
            The worker's answer, and what the parent saw: the seconds from the request until the
            calls were done, null where the worker did not say when that was; and the load.
        """
        self._repeats[arm] = repeats
        load = self._load or TrialLoad()
        # Of a block's first trial the load is counted from here on, of others from the one before.
        self._load = load
        answer, wall_s = self._timed(arm, "trial", repeats)
        return answer, {"wall_s": wall_s, **load.since_last()}

    def add(self, arm: str, trial: Mapping[str, Any], seen: Surroundings) -> None:
        """Add a trial that counts: a void one is no measurement.

        Args:
            arm: its name.
            trial: the worker's answer.
            seen: as `trial` gave it.
        """
        wall_s = seen.get("wall_s")
        if wall_s is None:
            return
        timed = TimedTrial(sum(trial["call_s"]), trial["beside_s"], trial["total_s"], wall_s)
        self._trials.setdefault(arm, []).append(timed)

    def after_block(self) -> None:
        """Make a request without calls of each arm, while there are few of them."""
        self._load = None
        for arm in self._trials:
            if len(self._without_calls.get(arm, ())) < MOST_EMPTY:
                self._ask_without_calls(arm)

    def checks(self) -> dict[str, ClockCheck]:
        """Compare the clocks of all arms whose trials have been timed."""
        checks = {}
        for arm, trials in self._trials.items():
            while len(self._without_calls.get(arm, ())) < LEAST_EMPTY:
                self._ask_without_calls(arm)
            compared = check(trials, self._without_calls[arm])
            if compared is not None:
                checks[arm] = compared
        return checks

    def _ask_without_calls(self, arm: str) -> None:
        answer, wall_s = self._timed(arm, "without_calls", self._repeats[arm])
        # A worker that says when its calls are done says so here too.
        assert wall_s is not None
        empty = TimedTrial(0.0, answer["total_s"], answer["total_s"], wall_s)
        self._without_calls.setdefault(arm, []).append(empty)

    def _timed(self, arm: str, command: str, repeats: int) -> tuple[Any, float | None]:
        done_s: list[float] = []

        def on_progress(_stage: str, _done: int, _total: int) -> None:
            done_s.append(time.perf_counter())

        # The worker says that the calls are done before it makes rows of their outputs: the time
        # of those is not in between.
        start_s = time.perf_counter()
        answer = self._pool.call(
            arm, command, progress=on_progress, case=self._case, repeats=repeats
        )
        return answer, done_s[0] - start_s if done_s else None


def problems(checks: Mapping[str, ClockCheck], names: Mapping[str, str]) -> list[str]:
    """Return a clause for each arm whose clock is wrong.

    Args:
        checks: by arm.
        names: what the arms are called.
    """
    clauses = []
    for arm, compared in checks.items():
        if compared.problem is not None:
            clauses.append(f"the timer is wrong: {names[arm]} {compared.problem}")
    return clauses


def note(record: Record, checks: Mapping[str, ClockCheck], *, case: int) -> None:
    """Put the comparison of the clocks in one pair of processes into the arms' sections."""
    for arm, compared in checks.items():
        figures = dataclasses.asdict(compared)
        # The problem stands in the reason of the verdict.
        del figures["problem"]
        section = record.arm_section(arm, case=case)
        section.setdefault("clock", []).append(cast(ClockFacts, figures))
