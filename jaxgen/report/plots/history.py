"""One question over time: the ratio of each run with its interval, and the steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxgen.report.history import Entry, Series
from jaxgen.report.plots.drawing import Drawing
from jaxgen.report.plots.style import ACCENT, ALERT, INK, PLAIN, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_TICKS = 5


def draw(series: Series, *, name: str) -> Drawing:
    """Draw a history.

    Args:
        series: with its steps.
        name: that of the plot.
    """
    entries = series.entries
    first = entries[0]
    last = entries[-1]
    changes = []
    for step in series.steps:
        date = entries[step.index].date
        changes.append(f"{step.change:+.1%} at {date}")
    steps = "no step"
    if changes:
        named = ", ".join(changes)
        steps = f"a step of {named}"
    count = len(entries)
    return Drawing(
        name,
        title=f"{series.metric} over {count} runs: {steps}",
        alt=f"From {first.ratio:.3g} on {first.date} to {last.ratio:.3g} on {last.date}.",
        put=lambda figure: _put(axes_of(figure, grid="y"), series),
    )


def _put(axes: "Axes", series: Series) -> None:
    entries = series.entries
    # Runs are evenly apart: a week without any would else hide those of one day.
    for number, entry in enumerate(entries):
        axes.plot(
            [number, number],
            entry.interval,
            color=PLAIN,
            linewidth=1.4,
        )
        axes.plot(
            [number],
            [entry.ratio],
            "o",
            color=ACCENT,
            markersize=4,
            markeredgewidth=0,
        )
    for step in series.steps:
        axes.axvline(step.index - 0.5, color=ALERT, linewidth=1.2)
    axes.axhline(1, color=INK, linewidth=0.8)
    places = _tick_places(len(entries))
    axes.set_xticks(places, _labels(entries, places))
    axes.set_ylabel("ratio, 95 % interval")


def _tick_places(count: int) -> list[int]:
    """Return the first run, the last, and a few between."""
    most = min(count, _MOST_TICKS)
    apart = (count - 1) / (most - 1)
    places = []
    for number in range(most):
        place = round(number * apart)
        places.append(place)
    return places


def _labels(entries: Sequence[Entry], places: Sequence[int]) -> list[str]:
    return [entries[place].date[:10] for place in places]
