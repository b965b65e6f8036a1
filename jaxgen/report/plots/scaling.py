"""Sweeps and grids as curves: how a figure grows with a numeric setting, the slope named.

Both axes are logarithmic, so that a power law is a line and its exponent is the slope.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.curves import Curve, Curves, curves_of, positive_setting
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.style import INK, SMALL_PT, axes_of, log_ticks, shortened
from jaxgen.report.points import Point, measured_soundly
from jaxgen.results import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "scaling curves"
_MOST_CURVES = 8
_MOST_SLOPES = 3
_MOST_NAMED = 8
_MOST_TICKS = 8
_STEPS = (
    (1, 2, 5),
    (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9),
    tuple(number / 10 for number in range(10, 100)),
)
"""The values of a decade that may have a tick, from coarse to fine."""
_POWERS = range(-9, 16)
_NAME_DISTANCE = 0.075
"""The least distance of two names, as a share of the axis' height."""


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw the metric of the verdict over the numeric setting with most values.

    Args:
        points: those of the report; each arm has a curve for each combination of other settings.
        name: that of the plot's files.
    """
    along = _numeric_setting(points)
    if along is None:
        reason = "no numeric setting has two values above 0 that both have figures"
        return LeftOut(name, _SUBJECT, reason)
    alike = _comparable(points, along)
    dropped = []
    for point in points:
        if point not in alike:
            dropped.append(point.label)
    found = curves_of(alike, along)
    curves = found.curves
    if not curves:
        return LeftOut(name, _SUBJECT, "no point has a figure above 0")
    # Two colours have no more shades that can be told apart.
    if len(curves) > _MOST_CURVES:
        reason = f"{len(curves)} lines are more than can be told apart; see the table"
        return LeftOut(name, _SUBJECT, reason)
    heading = _heading(alike[0])
    slopes = _slopes_in_words(curves)
    texts = [f"{curve.label}: {curve.in_words}" for curve in curves]
    return Drawing(
        name,
        title=f"{heading} over {along}{slopes}",
        alt="; ".join(texts) + ".",
        put=lambda figure: _put(axes_of(figure, grid="both"), curves, along, heading),
        height_in=2.9,
        note=_note(found, dropped),
    )


def _numeric_setting(points: Sequence[Point]) -> str | None:
    """Return the setting with most positive numbers among the points that have figures."""
    values_of: dict[str, set[float]] = {}
    for point in points:
        is_sound = measured_soundly(point)
        for key in point.settings:
            values = values_of.setdefault(key, set())
            value = positive_setting(point, key)
            if is_sound and value is not None:
                values.add(value)
    most = max(values_of, key=lambda key: len(values_of[key]), default=None)
    if most is None or len(values_of[most]) < 2:
        return None
    return most


def _comparable(points: Sequence[Point], along: str) -> list[Point]:
    """Return the points that have a place on the axes."""
    comparable = []
    metric = None
    for point in points:
        if not measured_soundly(point) or positive_setting(point, along) is None:
            continue
        # Figures of different metrics have no axis in common; the first point's metric is drawn.
        metric = metric or point.primary
        if point.primary == metric:
            comparable.append(point)
    return comparable


def _heading(point: Point) -> str:
    metric = point.primary or ""
    metrics = point.arms["candidate"]["metrics"]
    return formatting.heading(metric, metrics[metric])


def _slopes_in_words(curves: Sequence[Curve]) -> str:
    """Name the slopes, the steepest first."""
    sloped = [curve for curve in curves if curve.slope is not None]
    if not sloped:
        return "; of two values no slope is told"
    # The steepest curves are those that forbid to raise the setting much further.
    sloped.sort(key=lambda curve: -abs(curve.slope or 0))
    steepest = sloped[:_MOST_SLOPES]
    slopes = [f"{curve.slopes} ({curve.label})" for curve in steepest]
    return f": slope {', '.join(slopes)}"


def _note(found: Curves, dropped: Sequence[str]) -> str | None:
    """Say which points are not drawn, and what the dotted lines are."""
    notes = []
    if dropped:
        names = ", ".join(dropped[:_MOST_NAMED])
        notes.append(f"Without a place on these axes (0, invalid or failed): {names}.")
    if found.repeated:
        names = ", ".join(found.repeated[:_MOST_NAMED])
        notes.append(f"Measured more than once, and drawn from the first run: {names}.")
    least = [value for curve in found.curves for value in curve.least]
    if any(map(math.isfinite, least)):
        notes.append(
            "Dotted: the least that the probed bandwidth and FLOP/s allow "
            "for the bytes and FLOPs of the step."
        )
    return " ".join(notes) or None


def _put(axes: "Axes", curves: Sequence[Curve], along: str, heading: str) -> None:
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel(shortened(along))
    axes.set_ylabel(f"median {heading}")
    for curve in curves:
        axes.plot(
            curve.x,
            curve.y,
            "o-",
            color=curve.colour,
            linewidth=1.3,
            markersize=4,
            alpha=curve.alpha,
        )
        axes.plot(
            curve.x,
            curve.least,
            ":",
            color=curve.colour,
            linewidth=1.0,
            alpha=curve.alpha,
        )
    _name_curves(axes, curves)
    measured = {x for curve in curves for x in curve.x}
    _set_ticks(axes, sorted(measured))


def _name_curves(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Write each curve's name at its right end, moved up where two would lie on each other."""
    low, high = (math.log(end) for end in axes.get_ylim())
    # All names stand at the end of the longest curve, one below the other.
    right = max(max(curve.x) for curve in curves)
    least_distance = (high - low) * _NAME_DISTANCE
    below = -math.inf
    for curve in sorted(curves, key=lambda curve: curve.y[-1]):
        # As logarithms, since distances on the page are those.
        below = max(math.log(curve.y[-1]), below + least_distance)
        axes.annotate(
            shortened(curve.label, 26),
            (right, math.exp(below)),
            (6, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            color=INK,
            fontsize=SMALL_PT,
        )


def _set_ticks(axes: "Axes", measured: Sequence[float]) -> None:
    """Put ticks where something was measured on the x axis, and at round values on the y axis."""
    labels = [f"{value:g}" for value in measured]
    axes.set_xticks(measured, labels)
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = axes.get_ylim()
    ticks: list[float] = []
    # The narrower the range, the finer the steps; two ticks are the least that show a scale.
    for steps in _STEPS:
        ticks = log_ticks(low, high, steps, _POWERS)
        if len(ticks) > 1:
            break
    # 20 ticks: every third, which are 7.
    every = math.ceil(len(ticks) / _MOST_TICKS) or 1
    axes.set_yticks(ticks[::every])
    axes.set_yticks([], minor=True)
