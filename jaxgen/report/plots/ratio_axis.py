"""The axis of ratios, with the line where both arms are equal: what all plots of ratios share."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.style import GRID, INK, MUTED, log_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG_FROM = 1.8
"""The axis is logarithmic where the largest ratio is so many times the smallest."""

_STEPS = (1, 1.5, 2, 3, 5, 7)
_POWERS = range(-4, 5)
_MOST_TICKS = 8


def axis_of_ratios(axes: "Axes", values: Sequence[float]) -> None:
    """Set the x axis so that all values lie inside, with a little room at both ends.

    Args:
        axes: those of the plot.
        values: the ratios and the ends of their intervals, all above 0.
    """
    low = math.log(min(values))
    high = math.log(max(values))
    reach = high - low
    # Even where all ratios are 1 the axis needs a width.
    room = max(0.06 * reach, 0.004)
    start = math.exp(low - room)
    end = math.exp(high + room)
    # Half and twice as fast are equally far from equal, and look it on a logarithmic axis alone.
    if reach > math.log(_LOG_FROM):
        axes.set_xscale("log")
        ticks = log_ticks(start, end, _STEPS, _POWERS)
        every = math.ceil(len(ticks) / _MOST_TICKS) or 1
        ticks = ticks[::every]
        labels = [f"{tick:g}x" for tick in ticks]
        axes.set_xticks(ticks, labels)
        axes.set_xticks([], minor=True)
    axes.set_xlim(start, end)
    axes.spines["bottom"].set_color(MUTED)


def mark_margin(axes: "Axes", margin: float | None) -> None:
    """Draw a line where both arms are equal, and the band that counts as equal.

    Args:
        axes: those of the plot.
        margin: the smallest difference that counts, as a share.
    """
    if margin:
        # As the verdict has it: both ends are equally far from 1 as logarithms.
        most = 1 + margin
        axes.axvspan(
            1 / most,
            most,
            color=GRID,
            alpha=0.6,
            linewidth=0,
        )
    axes.axvline(1, color=INK, linewidth=0.8)
