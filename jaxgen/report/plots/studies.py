"""The measurements of a study, each with its interval.

They show how often the interval of equal arms holds 1, and how far the ratios stray from it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgen.report.lookup import number_at
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.ratio_axis import axis_of_ratios, mark_margin
from jaxgen.report.plots.style import ACCENT, PLAIN, axes_of, legend_above
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun
from jaxgen.results.schema import RepeatedComparison, Repetition

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "intervals of the repetitions"
_EQUAL = "equal arms"

Measured = tuple[float, float, float]
"""A ratio, and the lower and the upper end of its interval."""

Series = dict[str, list[Measured]]
"""The measurements of a study by what was compared."""


def repetitions(run: StoredRun) -> Series | None:
    """Return the comparisons of a study that have an interval, sorted by ratio.

    Args:
        run: any run.

    Returns:
        The comparisons by what was compared; None for a run that is no study.
    """
    selftest = run.result.get("selftest")
    if selftest:
        slowdown = formatting.percent(selftest.get("slowdown"))
        return {
            _EQUAL: _measured(selftest["same"]),
            f"{slowdown} more work in the candidate": _measured(selftest["slowed"]),
        }
    calibration = run.result.get("calibration")
    if calibration:
        return {_EQUAL: _measured(calibration["comparisons"])}
    return None


def draw(run: StoredRun, *, name: str) -> Drawing | LeftOut:
    """Draw every interval of a study, those of each kind in the order of their ratios.

    Args:
        run: a study.
        name: that of the plot's files.
    """
    series: Series = {}
    spans = []
    count = 0
    # A study that was stopped may have one kind and not the other.
    for kind, measured in (repetitions(run) or {}).items():
        if not measured:
            continue
        series[kind] = measured
        count += len(measured)
        smallest, largest = measured[0][0], measured[-1][0]
        spans.append(f"{kind}: ratios from {smallest:.3f} to {largest:.3f}")
    if not series:
        return LeftOut(name, _SUBJECT, "no repetition has an interval")
    margin = number_at(run.result, "selftest", "margin")
    # A calibration has no margin; that of an earlier version was the floor that it found.
    margin = margin or number_at(run.result, "calibration", "floor")
    return Drawing(
        name,
        title=_title(series),
        alt="; ".join(spans) + ".",
        put=lambda figure: _put(axes_of(figure, grid="x"), series, margin),
        height_in=min(1.6 + 0.03 * count, 5.0),
        note="Black: equal, and grey what counts as equal." if margin else "Black: equal.",
    )


def _measured(comparisons: Sequence[Repetition | RepeatedComparison]) -> list[Measured]:
    measured = []
    for comparison in comparisons:
        ratio = comparison.get("ratio")
        interval = comparison.get("ci95")
        if ratio and interval:
            low, high = interval
            measured.append((ratio, low, high))
    return sorted(measured, key=lambda comparison: comparison[0])


def _put(axes: "Axes", series: Mapping[str, Sequence[Measured]], margin: float | None) -> None:
    ends = [1.0]
    for measured in series.values():
        for _, low, high in measured:
            ends += [low, high]
    axis_of_ratios(axes, ends)
    mark_margin(axes, margin)
    first = 1
    colours = (PLAIN, ACCENT)
    for kind, colour in zip(series, colours, strict=False):
        measured = series[kind]
        rows = range(first, first + len(measured))
        axes.hlines(
            rows,
            [low for _, low, _ in measured],
            [high for _, _, high in measured],
            color=colour,
            linewidth=1.0,
            alpha=0.6,
        )
        axes.plot(
            [ratio for ratio, _, _ in measured],
            rows,
            "o",
            color=colour,
            markersize=2.4,
            label=kind,
        )
        first += len(measured)
    # The first kind is at the top; the rows of the second go on below it.
    axes.set_ylim(first, 0)
    axes.set_yticks([])  # the order is that of the ratios and says nothing of time
    axes.set_xlabel("candidate / baseline, 95 % interval")
    legend_above(axes, columns=2)


def _title(series: Mapping[str, Sequence[Measured]]) -> str:
    """Say how many intervals of equal arms hold 1, and how many of slowed ones end below it."""
    parts = []
    for kind, measured in series.items():
        total = len(measured)
        if kind == _EQUAL:
            holding = [low for _, low, high in measured if low <= 1 <= high]
            parts.append(f"{len(holding)} of {total} intervals of equal arms hold 1")
        else:
            below = [high for _, _, high in measured if high < 1]
            parts.append(f"{len(below)} of {total} with more work end below it")
    return ", ".join(parts)
