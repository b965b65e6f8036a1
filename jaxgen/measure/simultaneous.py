"""The interval of the best of several points, which was chosen because it looked best."""

import math
from collections.abc import Mapping
from typing import Any

from jaxgen.measure.interval import TAIL, start_half_width, student_quantile
from jaxgen.measure.start_spread import StartSpread


def simultaneous_interval(
    comparison: Mapping[str, Any], *, count: int
) -> tuple[float, float] | None:
    """Widen a ratio's 95 % interval so that it holds for whichever of several points is named.

    Each tail is divided by the number of points (Bonferroni; Dunn, "Multiple Comparisons Among
    Means", JASA 56, 1961): then all their intervals hold at once in 95 % of the sweeps.

    Args:
        comparison: as it stands in a result.
        count: how many points the one was chosen from.

    Returns:
        The ends of the interval of the ratio; None where the comparison has no interval.
    """
    interval = comparison.get("ci95")
    if not interval:
        return None
    low, high = interval
    centre = math.sqrt(low * high)
    narrow = math.log(high / low) / 2
    wide = _widened(comparison, narrow, tail=TAIL / count)
    factor = math.exp(wide)
    return centre / factor, centre * factor


def _widened(comparison: Mapping[str, Any], half_width: float, *, tail: float) -> float:
    """Return the half width at another tail, of an interval of 95 %."""
    processes = comparison.get("processes") or 1
    freedom = comparison["blocks"] - processes
    start = comparison.get("start_spread")
    if start is None:
        # The processes' own means decide, or the blocks of the only one.
        if processes > 1:
            freedom = processes - 1
        return half_width * _factor(freedom, tail)
    # What the start adds is known, so that the rest of the width is what the blocks add.
    spread = StartSpread(**start)
    outside = float(start_half_width(spread, processes, tail=TAIL))
    squares = half_width**2 - outside**2
    inside = math.sqrt(max(squares, 0.0))
    inside *= _factor(freedom, tail)
    outside *= _factor(spread.freedom, tail)
    return math.hypot(inside, outside)


def _factor(freedom: int, tail: float) -> float:
    """Return how much wider Student's interval is at this tail than at 95 %."""
    wide = student_quantile(freedom, tail)
    narrow = student_quantile(freedom, TAIL)
    return float(wide / narrow)
