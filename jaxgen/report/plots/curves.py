"""The curves of a scaling plot: each arm's medians over one setting, with their slope.

Beside them stands the least that each step could take, by its bytes and FLOPs.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from jaxgen.report.lookup import median_of, number_at, value_at
from jaxgen.report.plots.style import ACCENT, PLAIN
from jaxgen.report.points import Point
from jaxgen.results.schema import ArmResult

_LEAST_FOR_SLOPE = 3

Values = dict[float, tuple[float, float]]
"""For each value of the setting the median, and the least that it could be."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """One arm with one combination of the other settings.

    Attributes:
        alpha: how opaque it is; the curves of an arm differ by it.
        x: the values of the setting.
        y: the medians, seconds as milliseconds.
        least: the least that they could be; NaN where bytes, FLOPs or the machine's rates are
            unknown.
    """

    label: str
    colour: str
    alpha: float
    x: list[float]
    y: list[float]
    least: list[float]

    @property
    def slope(self) -> float | None:
        """The slope of the logarithms; None where there are too few values."""
        return _slope(self.x, self.y)

    @property
    def slopes(self) -> str:
        """The slope, and that of what bytes and FLOPs say."""
        measured = f"{self.slope:+.2f}"
        by_work = _slope(self.x, self.least)
        if by_work is None:
            return measured
        return f"{measured}, {by_work:+.2f} by its bytes and FLOPs"

    @property
    def in_words(self) -> str:
        """The medians, and the slope where there is one."""
        values = []
        for x, y in zip(self.x, self.y, strict=True):
            values.append(f"{y:.3g} at {x:g}")
        text = ", ".join(values)
        if self.slope is None:
            return text
        return f"{text} (slope {self.slopes})"


@dataclasses.dataclass(frozen=True)
class Curves:
    """All curves of a plot.

    Attributes:
        repeated: points of an arm that several runs measured, of which the first is drawn.
    """

    curves: list[Curve]
    repeated: list[str]


def curves_of(points: Sequence[Point], along: str) -> Curves:
    """Return a curve for each arm and combination of its other settings.

    Args:
        points: those with a positive value of the setting, and all of one metric.
        along: the setting that is the x axis.
    """
    repeated: dict[str, None] = {}
    values_of: dict[tuple[str, str], Values] = {}
    for point in points:
        x = positive_setting(point, along)
        if x is None:
            continue
        scale = _scale(point)
        for name, arm in point.arms.items():
            median = median_of(arm, point.primary)
            if median is None or median <= 0:
                continue
            # Points that differ in the setting of the axis alone make one curve.
            label = point.arm_label(name, without=along)
            values = values_of.setdefault((name, label), {})
            # A baseline that does not vary is measured in every run of a sweep.
            if x in values:
                repeated.setdefault(f"{label} at {x:g}")
            least = _least_seconds(arm, point.primary)
            values.setdefault(x, (median * scale, least * scale))
    curves = _shaded(values_of)
    # A single dot among curves says nothing of how a figure grows.
    long = []
    for curve in curves:
        if len(curve.x) > 1:
            long.append(curve)
    return Curves(long or curves, list(repeated))


def positive_setting(point: Point, key: str) -> float | None:
    """Return a setting of a point as a number above 0; None where it is none."""
    try:
        value = float(point.settings.get(key, ""))
    except ValueError:
        return None
    if math.isfinite(value) and value > 0:
        return value
    return None


def _shaded(values_of: dict[tuple[str, str], Values]) -> list[Curve]:
    """Return the curves of all arms, those of one arm from opaque to pale."""
    labels_of: dict[str, list[str]] = {}
    for arm, label in values_of:
        labels_of.setdefault(arm, []).append(label)
    curves = []
    for (arm, label), values in values_of.items():
        labels = labels_of[arm]
        # An arm keeps its colour in all plots; its curves differ by how opaque they are.
        number = labels.index(label)
        x = sorted(values)
        curve = Curve(
            label=label,
            colour=ACCENT if arm == "candidate" else PLAIN,
            # Three curves have 1, 0.8 and 0.6: even the last of many can be seen on white.
            alpha=1 - 0.6 * number / len(labels),
            x=x,
            y=[values[value][0] for value in x],
            least=[values[value][1] for value in x],
        )
        curves.append(curve)
    return curves


def _scale(point: Point) -> float:
    """Return what figures are multiplied by: seconds are drawn as milliseconds."""
    metrics = point.arms["candidate"]["metrics"]
    unit = metrics[point.primary or ""]["unit"]
    return 1e3 if unit == "s" else 1.0


def _least_seconds(arm: ArmResult, metric: str | None) -> float:
    """Return the least time of a step; NaN where the metric is no step's, or a rate is unknown."""
    if value_at(arm, "roofline", "of") != metric:
        return math.nan
    times = []
    for work, rate in (
        ("bytes_per_step", "bandwidth_bytes_per_s"),
        ("flops_per_step", "peak_flops_per_s"),
    ):
        done = number_at(arm, "roofline", work)
        per_s = number_at(arm, "roofline", rate)
        times.append(done / per_s if done and per_s else math.nan)
    if any(map(math.isnan, times)):
        return math.nan
    # Memory and arithmetic work at the same time: the slower of them decides.
    return max(times)


def _slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Fit the slope of the logarithms by least squares; None where there are too few values."""
    if len(x) < _LEAST_FOR_SLOPE:
        return None
    if not all(map(math.isfinite, y)):
        return None
    # The fit is over logarithms, where a power law is a line.
    slope, _ = np.polyfit(np.log(x), np.log(y), 1)
    return float(slope)
