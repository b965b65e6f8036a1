"""The candidate against the baseline in many comparisons: each point's ratio and interval."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.ratio_axis import axis_of_ratios, mark_margin
from jaxgen.report.plots.style import ACCENT, PLAIN, axes_of, shortened
from jaxgen.report.points import Point
from jaxgen.results import formatting
from jaxgen.results.schema import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "ratios of all points"
_MOST_ROWS = 60

Compared = tuple[Point, Comparison]
"""A point with its ratio."""


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw the ratio of each point, from the largest to the smallest.

    Args:
        points: those of the report; some may have no ratio.
        name: that of the plot's files.
    """
    compared = _compared(points)
    if not compared:
        return LeftOut(name, _SUBJECT, "no point has a ratio")
    # A row needs the height of its label.
    if len(compared) > _MOST_ROWS:
        reason = f"{len(compared)} points are more than {_MOST_ROWS} rows can show; see the table"
        return LeftOut(name, _SUBJECT, reason)
    ratios = []
    for point, comparison in compared:
        ratio = formatting.ratio_and_interval(comparison)
        ratios.append(f"{point.label}: {ratio}")
    missing = len(points) - len(compared)
    note = None
    if missing:
        note = f"{missing} of {len(points)} points have no ratio: see the table."
    return Drawing(
        name,
        title=_title(compared),
        alt="; ".join(ratios) + ".",
        put=lambda figure: _put(axes_of(figure, grid="x"), compared),
        height_in=1.0 + 0.22 * len(compared),
        note=note,
    )


def _title(compared: Sequence[Compared]) -> str:
    decided = []
    for point, _ in compared:
        if _is_decided(point):
            decided.append(point)
    title = f"{len(decided)} of {len(compared)} points differ from their baseline"
    if decided:
        return f"{title} (in colour)"
    return title


def _compared(points: Sequence[Point]) -> list[Compared]:
    """Return the points that have a ratio, the largest first."""
    compared = []
    for point in points:
        comparison = point.ratio
        if comparison is not None:
            compared.append((point, comparison))
    compared.sort(key=lambda row: -row[1]["ratio"])
    return compared


def _put(axes: "Axes", compared: Sequence[Compared]) -> None:
    ends = [1.0]
    for _, comparison in compared:
        # With too few blocks there is a ratio without an interval.
        ends += comparison["ci95"] or [comparison["ratio"]]
    axis_of_ratios(axes, ends)
    # A band is true of all rows only where all points have the same margin.
    margins = {point.margin for point, _ in compared}
    mark_margin(axes, margins.pop() if len(margins) == 1 else None)
    for row, (point, comparison) in enumerate(compared):
        # Colour is for those whose interval lies outside of the margin.
        colour = ACCENT if _is_decided(point) else PLAIN
        interval = comparison["ci95"]
        if interval:
            axes.plot(
                interval,
                [row, row],
                color=colour,
                linewidth=1.6,
                solid_capstyle="round",
            )
        axes.plot(
            [comparison["ratio"]],
            [row],
            "o",
            color=colour,
            markersize=4.5,
            markeredgewidth=0,
        )
    labels = [shortened(point.label) for point, _ in compared]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(compared) - 0.4, -0.6)
    axes.set_xlabel("ratio, 95 % interval")


def _is_decided(point: Point) -> bool:
    return point.verdict in ("faster", "slower")
