"""The same measurement again and again in one pair of processes, for calibration and self-test."""

import itertools
from collections.abc import Mapping
from typing import Any

from jaxgen.console.progress import Console
from jaxgen.errors import UserError
from jaxgen.executor.pool import Pool
from jaxgen.experiment.session import Session
from jaxgen.experiment.trials import Trials
from jaxgen.results.record import Record
from jaxgen.results.schema import Comparison
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Measure


class Repetitions:
    """Measurements of the first case; each has trials, blocks and an interval of its own.

    Args:
        arms: by name, both.
        pool: their workers.
        session: of the pool.
        record: keeps each trial; `case` in trials.csv is the number of the measurement.
        plan: of every measurement.
        first: the number of the first measurement.
        process: the number of the pair of processes.
    """

    def __init__(
        self,
        arms: Mapping[str, Arm],
        pool: Pool,
        session: Session,
        record: Record,
        *,
        plan: Measure,
        first: int,
        process: int,
    ):
        self._arms = arms
        self._pool = pool
        self._session = session
        self._record = record
        self._plan = plan
        self._process = process
        self._numbers = itertools.count(first)
        self._blocks = 0
        self._call_s: dict[str, float] = {}

    def load(self) -> None:
        """Load and warm both arms, and time one call of each for planning."""
        self._session.load()
        self._session.warm_up(0)
        # One arm after the other, as in the trials: two calls at once would each seem slower, and
        # the plan would get shorter trials than a user's run.
        for arm in self._arms:
            self._call_s[arm] = self._pool.call(arm, "outputs", case=0)["call_s"]

    def measure(self, **fault: Any) -> tuple[Comparison | None, list[str]]:
        """Make one measurement, with a fault in the candidate if one is given.

        Args:
            **fault: fields of `specs.fault.Fault`.

        Returns:
            The comparison of the workload's first metric, null where no pair was measured; and
            what spoilt the measurement.
        """
        number = next(self._numbers)
        # The same two processes serve equal and slowed arms: their difference is then the fault
        # alone. Without a fault this takes the last one away.
        self._pool.call("candidate", "inject_fault", fault=fault)
        # Samples of its own: pairs of an earlier measurement would narrow the interval of this one.
        samples = self._session.outcome().samples
        trials = Trials(
            self._arms,
            self._pool,
            samples,
            plan=self._plan,
            process=self._process,
            first_block=self._blocks,
            on_trial=lambda row: self._record.add_trial({**row, "case": number}),
            on_block=lambda _number, _pairs: None,
        )
        trials.run(call_s=self._call_s)
        # Blocks are counted on: with few of them, an order that began anew would favour one arm.
        self._blocks += trials.blocks
        return samples.comparison().get(samples.primary), [*trials.dirty, *samples.problems()]


def start_repetitions(
    experiment: Experiment,
    pool: Pool,
    record: Record,
    console: Console,
    *,
    arms: Mapping[str, Arm],
    first: int,
    process: int,
    process_of_run: int,
) -> Repetitions:
    """Load and warm the arms of a pool for measurements.

    Args:
        experiment: how each of them is made.
        pool: the workers.
        record: keeps each trial.
        console: shows the progress.
        arms: by name, in the order in which they load.
        first: the number of the first measurement.
        process: the number of the pair of processes, earlier runs that are continued included.
        process_of_run: its number in this run, whose first one fills the facts about the arms.
    """
    plan = experiment.measure
    session = Session(arms, pool, record, console, plan=plan, process=process_of_run)
    repetitions = Repetitions(arms, pool, session, record, plan=plan, first=first, process=process)
    repetitions.load()
    return repetitions


def require_same(arms: Mapping[str, Arm], *, study: str) -> None:
    """Refuse arms that differ: the study asks how far apart equal arms seem.

    Args:
        arms: by name.
        study: its name, for the message.

    Raises:
        UserError: they differ, or there is one only.
    """
    if len(arms) < 2 or arms["candidate"].run != arms["baseline"].run:
        raise UserError(
            f"study={study} measures an arm against itself: it needs baseline=same, with nothing "
            "changed"
        )
