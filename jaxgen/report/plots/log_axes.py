"""The ticks of two logarithmic axes, whose upper one is a rate."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jaxgen.report.plots.rates import short_rate
from jaxgen.report.plots.style import log_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POWERS = range(-6, 18)


def set_log_ticks(axes: "Axes") -> None:
    """Write the ticks in words: with mathematics off, matplotlib's own show their mark-up."""
    x = _ticks(axes.get_xlim())
    x_labels = [f"{value:g}" for value in x]
    axes.xaxis.set_ticks(x, x_labels)
    axes.xaxis.set_ticks([], minor=True)
    y = _ticks(axes.get_ylim())
    y_labels = [short_rate(value) for value in y]
    axes.yaxis.set_ticks(y, y_labels)
    axes.yaxis.set_ticks([], minor=True)


def _ticks(ends: Iterable[float]) -> list[float]:
    """Return the powers of ten on an axis; with fewer than two of them, more round values."""
    low, high = ends
    powers = log_ticks(low, high, (1,), _POWERS)
    if len(powers) > 1:
        return powers
    return log_ticks(low, high, (1, 2, 5), _POWERS)
