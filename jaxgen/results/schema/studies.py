"""What a study leaves in result.json: measurements of equal arms, again and again."""

from typing import Any, NotRequired, Required, TypedDict

from jaxgen.results.schema.comparison import Comparison, Spread, StartSpreadUsed, Trimmed
from jaxgen.results.schema.types import Count, Interval, Positive


class Repetition(TypedDict, total=False):
    """One of many measurements of the same arms: its comparison, and its verdict in a self-test."""

    process: Required[Count]
    verdict: str
    reason: str
    ratio: Positive
    ci95: Interval | None
    blocks: Count
    pairs: Count
    p_value: float | None
    processes: Count
    spread: Spread
    start_spread: StartSpreadUsed | None
    trimmed: Trimmed | None
    # Which arm's process started first, and whether the two had exchanged their names.
    started_first: str
    swapped: bool
    # The mean log ratio of each block.
    block_means: list[float]


class RepeatedComparison(Comparison):
    """One of many comparisons of equal arms, and the pair of processes that it was measured in."""

    process: Count
    # Results of earlier versions have only the above.
    started_first: NotRequired[str]
    # The mean log ratio of each block, and the standard error of their mean.
    block_means: NotRequired[list[float]]
    standard_error: NotRequired[float | None]


class MeasuredSpread(TypedDict):
    """How far a start alone moves the ratio of equal arms: of log ratios, as shares."""

    deviation: float
    freedom: Count
    # Over the pairs of processes: their mean, and how much faster the arm is that starts first.
    mean: float
    first_starter_gain: float | None


class Calibration(TypedDict):
    """Equal arms in fresh pairs of processes; only the comparisons until the end.

    Results of earlier versions have a `floor` instead of a start spread.
    """

    comparisons: list[RepeatedComparison]
    start_spread: NotRequired[MeasuredSpread]
    measured_at: NotRequired[str]
    conditions: NotRequired[dict[str, Any]]
    plan: NotRequired[dict[str, Any]]
    key: NotRequired[str]
    kept_in: NotRequired[str]
    floor: NotRequired[Positive]
    repetitions: NotRequired[Count]
    false_verdict_rate: NotRequired[float | None]
    false_verdict_rates: NotRequired[dict[str, float | None]]
    default_margin: NotRequired[float]


class Coverage(TypedDict):
    """How many intervals of equal arms hold 1."""

    held: Count
    of: Count
    rate: float
    # Of the rate, at 95 %: the binomial interval.
    ci95: list[float]
    # The same counts by who started first and by whether the names were exchanged.
    cells: dict[str, dict[str, int]]


class InjectedFault(TypedDict):
    """One run with a fault that jaxgen must find."""

    verdict: str | None
    reason: str
    found: bool
    result: str


class Selftest(TypedDict):
    """How often jaxgen was right about equal arms, a known slowdown and faults."""

    same: list[Repetition]
    slowed: list[Repetition]
    slowdown: float
    faults: dict[str, InjectedFault]
    margin: NotRequired[float]
    # As `StartSpread` has it: deviation, freedom and source.
    start_spread: NotRequired[dict[str, Any]]
    rates: NotRequired[dict[str, float]]
    coverage: NotRequired[Coverage]
