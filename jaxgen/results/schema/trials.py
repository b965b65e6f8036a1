"""The rows of trials.csv, in the columns that writer and readers share, and what sums them up."""

from collections.abc import Mapping
from typing import TypedDict

from jaxgen.results.schema.types import Count

POSITION = ("case", "process", "block", "pair", "position", "arm")
EVENTS = ("compile_events", "void", "repeats")
"""The columns before and after those of the metrics, which are a workload's own."""
SURROUNDINGS = ("wall_s", "available_cpu_s", "foreign_cpu_s", "steal_s", "throttled_s")
"""The last columns: what the parent saw of the trial. Older files of this version have none."""


class Surroundings(TypedDict, total=False):
    """What the parent saw of a trial, in seconds; null where it is not known."""

    # From the request until the calls were done, by the parent's clock.
    wall_s: float | None
    # Processor time that this run could have had, and what other programs took of it; by the
    # rounding of the kernel's clocks the second may be a little below 0.
    available_cpu_s: float | None
    foreign_cpu_s: float | None
    # Processor time that a hypervisor gave to other guests, and that a container's limit took.
    steal_s: float | None
    throttled_s: float | None


class TrialRow(Surroundings):
    """One trial; `call_s` and `functions` are summed up in result.json and have no column."""

    case: int
    process: int
    block: int
    pair: int
    # 0 for the arm that went first in its pair, else 1.
    position: int
    arm: str
    metrics: Mapping[str, float | None]
    call_s: list[float]
    compile_events: int
    functions: Mapping[str, int]
    void: bool
    repeats: int


class ClockFacts(TypedDict):
    """The arm's clock against the parent's in one pair of processes; seconds of one trial."""

    claimed_s: float
    wall_s: float
    # What the worker did while no call's clock ran, and a request for calls that made none.
    beside_s: float
    without_calls_s: float
    # Share of `wall_s` that neither explains, and the smallest error to be found: of the arm's
    # clock, and of all clocks of its process.
    unexplained: float
    smallest_error: float
    smallest_worker_error: float


class TrialLoadFacts(TypedDict):
    """What else used the processor during an arm's trials."""

    foreign_cpu_share: float | None
    steal_share: float | None
    # How long, and in how many trials, a container's limit stopped the run.
    throttled_s: float | None
    throttled_trials: Count | None


def columns(metrics: Mapping[str, float | None]) -> list[str]:
    """Return the header of a trials.csv whose trials have these metrics."""
    return [*POSITION, *metrics, *EVENTS, *SURROUNDINGS]


def is_header(names: list[str]) -> bool:
    """Tell whether a CSV with these column names is a trials.csv."""
    # What follows differs from workload to workload: only the beginning tells.
    return tuple(names[: len(POSITION)]) == POSITION
