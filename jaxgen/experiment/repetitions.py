"""The same measurement again and again in one pair of processes, for calibration and self-test."""

import dataclasses
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
from jaxgen.specs.measure import Measure

_OTHER = {"candidate": "baseline", "baseline": "candidate"}


@dataclasses.dataclass(frozen=True)
class Repetition:
    """One measurement.

    Attributes:
        comparison: of the workload's first metric; null where no pair was measured.
        block_means: the mean log ratio of each block.
        dirty: what spoilt the measurement.
    """

    comparison: Comparison | None
    block_means: list[float]
    dirty: list[str]


class SwappedPool:
    """A pool whose two equal arms have exchanged their names.

    What is called the candidate is then held by the process that is otherwise the baseline's, so
    that neither name belongs to the process that started first.

    Args:
        pool: with both arms.
    """

    def __init__(self, pool: Pool):
        self._pool = pool

    def call(self, arm: str, command: str, **arguments: Any) -> Any:
        """Send a command to the other arm's worker; return its answer."""
        return self._pool.call(_OTHER[arm], command, **arguments)


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

    def measure(self, *, swapped: bool = False, **fault: Any) -> Repetition:
        """Make one measurement, with a fault in the candidate if one is given.

        Args:
            swapped: the two processes exchange their names for this measurement.
            **fault: fields of `specs.fault.Fault`.
        """
        pool = SwappedPool(self._pool) if swapped else self._pool
        # The same two processes serve equal and slowed arms: their difference is then the fault
        # alone. The process that had a fault last may be the other one now.
        pool.call("baseline", "inject_fault", fault={})
        pool.call("candidate", "inject_fault", fault=fault)
        # Samples of its own: pairs of an earlier measurement would narrow the interval of this one.
        samples = self._session.outcome().samples
        number = next(self._numbers)
        trials = Trials(
            self._arms,
            pool,  # type: ignore[arg-type]  # it has all that trials ask of a pool
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
        return Repetition(
            comparison=samples.comparison().get(samples.primary),
            block_means=samples.block_means(),
            dirty=[*trials.dirty, *samples.problems()],
        )


def start_repetitions(
    pool: Pool,
    record: Record,
    console: Console,
    *,
    arms: Mapping[str, Arm],
    first: int,
    process: int,
    process_of_run: int,
    plan: Measure,
) -> Repetitions:
    """Load and warm the arms of a pool for measurements.

    Args:
        pool: the workers.
        record: keeps each trial.
        console: shows the progress.
        arms: by name, in the order in which they load.
        first: the number of the first measurement.
        process: the number of the pair of processes, earlier runs that are continued included.
        process_of_run: its number in this run, whose first one fills the facts about the arms.
        plan: of every measurement.
    """
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
