"""Sweeps and grids as curves: how a figure grows with a numeric setting, on logarithmic axes, the slope named."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgen.report.plots.drawing import (
    ACCENT,
    INK,
    PLAIN,
    SMALL_PT,
    Drawing,
    LeftOut,
    axes_of,
    shortened,
)
from jaxgen.report.points import Point, at, measured_soundly, median_of, number_at
from jaxgen.results import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 8
_LEAST_FOR_SLOPE = 3
_BESIDE: Any = {
    "textcoords": "offset points",
    "va": "center",
    "annotation_clip": False,
    "color": INK,
    "fontsize": SMALL_PT,
}


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """The verdict's metric of both arms over the numeric setting with most values; a line for each of the others."""
    subject = "scaling curves"
    along = _numeric(points)
    if along is None:
        return LeftOut(
            name, subject, "no numeric setting has two values above 0 that both have figures"
        )
    sound = [point for point in points if measured_soundly(point) and _positive(point, along)]
    alike = [point for point in sound if point.primary == sound[0].primary]
    lines, repeated = _lines(alike, along)
    if not lines:
        return LeftOut(name, subject, "no point has a figure above 0")
    if len(lines) > _MOST_LINES:
        return LeftOut(
            name, subject, f"{len(lines)} lines are more than can be told apart; see the table"
        )
    heading = _unit(alike[0])[0]

    def put(figure) -> None:
        axes = axes_of(figure, grid="both")
        axes.set(xscale="log", yscale="log", xlabel=shortened(along), ylabel=f"median {heading}")
        for line in lines:
            axes.plot(
                line.x,
                line.y,
                "o-",
                color=line.colour,
                linewidth=1.3,
                markersize=4,
                alpha=line.alpha,
            )
            axes.plot(
                line.x, line.expected, ":", color=line.colour, linewidth=1.0, alpha=line.alpha
            )
        _name_lines(axes, lines)
        _plain_ticks(axes, sorted({x for line in lines for x in line.x}))

    sloped = sorted(
        (line for line in lines if line.slope is not None), key=lambda line: -abs(line.slope or 0)
    )
    slopes = [f"{line.slopes} ({line.label})" for line in sloped]
    told = f": slope {', '.join(slopes[:3])}" if slopes else "; of two values no slope is told"
    dropped = [point.label for point in points if point not in alike]
    notes = (
        [f"Without a place on these axes (0, invalid or failed): {', '.join(dropped[:8])}."]
        if dropped
        else []
    )
    notes += (
        [f"Measured more than once, and drawn from the first run: {', '.join(repeated[:8])}."]
        if repeated
        else []
    )
    if any(any(map(math.isfinite, line.expected)) for line in lines):
        notes.append(
            "Dotted: the least that the probed bandwidth and FLOP/s allow for the bytes and FLOPs of the step."
        )
    alt = "; ".join(f"{line.label}: {line.told}" for line in lines) + "."
    return Drawing(
        name, f"{heading} over {along}{told}", alt, put, height_in=2.9, note=" ".join(notes) or None
    )


@dataclasses.dataclass(frozen=True)
class _Line:
    label: str
    colour: str
    alpha: float
    x: list[float]
    y: list[float]
    expected: list[float]  # NaN where bytes, FLOPs or the machine's rates are unknown

    @property
    def slope(self) -> float | None:
        """Of the logarithms, by least squares; of two points it would be no more than a wish."""
        return _slope(self.x, self.y)

    @property
    def slopes(self) -> str:
        """The slope, and that of what bytes and FLOPs say."""
        by_work = _slope(self.x, self.expected)
        beside = "" if by_work is None else f", {by_work:+.2f} by its bytes and FLOPs"
        return f"{self.slope:+.2f}{beside}"

    @property
    def told(self) -> str:
        values = ", ".join(f"{y:.3g} at {x:g}" for x, y in zip(self.x, self.y, strict=True))
        return values if self.slope is None else f"{values} (slope {self.slopes})"


def _slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    if len(x) < _LEAST_FOR_SLOPE or not all(map(math.isfinite, y)):
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _expected(facts: Mapping[str, Any], metric: str | None) -> float:
    """Seconds that a step takes at least; NaN where the metric is no step's, or something is unknown."""
    if at(facts, "roofline", "of") != metric:
        return math.nan
    pairs = (("bytes_per_step", "bandwidth_bytes_per_s"), ("flops_per_step", "peak_flops_per_s"))
    numbers = [[number_at(facts, "roofline", key) for key in pair] for pair in pairs]
    return max((done / rate if done and rate else math.nan) for done, rate in numbers)


def _positive(point: Point, key: str) -> float | None:
    try:
        value = float(point.settings.get(key, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _numeric(points: Sequence[Point]) -> str | None:
    """The setting with most positive numbers among the points that have figures."""
    keys = dict.fromkeys(key for point in points for key in point.settings)
    counts = {
        key: len({_positive(p, key) for p in points if measured_soundly(p)} - {None})
        for key in keys
    }
    best = max(counts, key=lambda key: counts[key], default=None)
    return best if best is not None and counts[best] > 1 else None


def _lines(points: Sequence[Point], along: str) -> tuple[list[_Line], list[str]]:
    """Each arm by its own settings; and the points of arms that are the same in several runs, after the first."""
    repeated: dict[str, None] = {}
    data: dict[tuple[str, str], dict[float, tuple[float, float]]] = {}
    for point in points:
        x = _positive(point, along)
        if x is None:
            continue
        for arm, facts in point.arms.items():
            y = median_of(facts, point.primary)
            if y is not None and y > 0:
                label = point.arm_label(arm, without=along)
                values = data.setdefault((arm, label), {})
                if x in values:
                    repeated.setdefault(f"{label} at {x:g}")
                values.setdefault(
                    x, (y * _unit(point)[1], _expected(facts, point.primary) * _unit(point)[1])
                )
    totals = {arm: sum(name == arm for name, _ in data) for arm, _ in data}
    seen: dict[str, int] = {}
    lines = []
    for (arm, label), values in data.items():
        place = seen[arm] = seen.get(arm, 0) + 1
        x = sorted(values)
        colour, alpha = ACCENT if arm == "candidate" else PLAIN, 1 - 0.6 * (place - 1) / totals[arm]
        measured, expected = zip(*(values[each] for each in x), strict=True)
        lines.append(_Line(label, colour, alpha, x, list(measured), list(expected)))
    return [line for line in lines if len(line.x) > 1] or lines, list(repeated)


def _name_lines(axes: "Axes", lines: Sequence[_Line]) -> None:
    """Each line's name at its right end, moved apart where two would lie on each other."""
    ordered = sorted(lines, key=lambda line: line.y[-1])
    low, high = (math.log(each) for each in axes.get_ylim())
    end = max(max(line.x) for line in lines)
    least, before = (high - low) * 0.075, -math.inf
    for line in ordered:
        place = max(math.log(line.y[-1]), before + least)
        before = place
        axes.annotate(shortened(line.label, 26), (end, math.exp(place)), (6, 0), **_BESIDE)


def _plain_ticks(axes: "Axes", values: Sequence[float]) -> None:
    """The measured places themselves on the x axis, and plain figures on the y axis."""
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = axes.get_ylim()
    for steps in (
        (1, 2, 5),
        (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9),
        [each / 10 for each in range(10, 100)],
    ):
        ticks = [
            step * 10.0**power
            for power in range(-9, 16)
            for step in steps
            if low <= step * 10.0**power <= high
        ]
        if len(ticks) > 1:
            break
    axes.set_yticks(ticks[:: math.ceil(len(ticks) / 8) or 1])
    axes.set_yticks([], minor=True)


def _unit(point: Point) -> tuple[str, float]:
    """The metric in words, and what its figures are multiplied by."""
    metric = point.primary or ""
    block = point.arms["candidate"]["metrics"][metric]
    return formatting.heading(metric, block), 1e3 if block["unit"] == "s" else 1.0
