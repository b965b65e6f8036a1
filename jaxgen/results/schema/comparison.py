"""How one metric of the candidate compares with the baseline's, and how sure that is."""

from typing import TypedDict

from jaxgen.results.schema.types import Count, Interval, Positive


class Spread(TypedDict):
    """Standard deviations of the log ratio that each level of the nesting adds, as shares."""

    # Null where a level has one unit only: the level above then holds what it adds.
    process: float | None
    block: float | None
    pair: float | None


class Comparison(TypedDict):
    """The candidate against the baseline in one metric; above 1 the candidate is better."""

    ratio: Positive
    # Null below two blocks: one says nothing of how far blocks differ.
    ci95: Interval | None
    blocks: Count
    pairs: Count
    # Over blocks, or over processes where there are several; null below six of them.
    p_value: float | None
    processes: Count
    spread: Spread
