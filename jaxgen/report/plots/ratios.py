"""The candidate against the baseline: every pair of one comparison, or the intervals of many."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxgen.report.plots.drawing import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    PLAIN,
    Drawing,
    LeftOut,
    axes_of,
    shortened,
)
from jaxgen.report.points import Point
from jaxgen.results import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG_FROM = 1.8
_MOST_ROWS = 60
_NOTE = "Each dot is a pair. Blue: the ratio and its 95 % interval. Black: equal, and grey what counts as equal."


def draw_pairs(point: Point, *, name: str) -> Drawing | LeftOut:
    """The ratio of every pair, block by block, with the interval over all."""
    subject, compared = "distribution of ratios", point.ratio
    if compared is None:
        return LeftOut(name, subject, _no_ratio(point))
    blocks = _pairs(point)
    if not blocks:
        return LeftOut(name, subject, point.run.no_trials or "no pair is whole")
    ratios = [ratio for block in blocks for ratio in block]
    interval = compared["ci95"]

    def put(figure) -> None:
        axes = axes_of(figure, grid="x")
        axis_of_ratios(axes, [*ratios, 1.0, *(interval or [])])
        mark_margin(axes, point.margin)
        if interval:
            axes.axvspan(*interval, color=ACCENT, alpha=0.15, linewidth=0)
        axes.axvline(compared["ratio"], color=ACCENT, linewidth=1.4)
        for number, block in enumerate(blocks, 1):
            axes.plot(
                block,
                [number] * len(block),
                "o",
                color=ACCENT,
                markersize=4,
                alpha=0.75,
                markeredgewidth=0,
            )
        axes.set_ylim(len(blocks) + 0.6, 0.4)
        axes.set_yticks(range(1, len(blocks) + 1) if len(blocks) <= 12 else [1, len(blocks)])
        axes.set_ylabel("block")
        axes.set_xlabel("candidate / baseline")

    told = formatting.ratio_and_interval(compared)
    better = sum(ratio > 1 for ratio in ratios)
    title = f"The candidate is better in {better} of {len(ratios)} pairs; ratio {told}"
    alt = f"{len(ratios)} pairs in {len(blocks)} blocks, ratios from {min(ratios):.3g} to {max(ratios):.3g}; all: {told}."
    return Drawing(name, title, alt, put, height_in=min(1.5 + 0.2 * len(blocks), 4.0), note=_NOTE)


def draw_intervals(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """The ratio and interval of each point, from the largest to the smallest."""
    subject = "ratios of all points"
    known = [(point, point.ratio) for point in points]
    rows = sorted([(p, r) for p, r in known if r is not None], key=lambda row: -row[1]["ratio"])
    if not rows:
        return LeftOut(name, subject, "no point has a ratio")
    if len(rows) > _MOST_ROWS:
        return LeftOut(
            name,
            subject,
            f"{len(rows)} points are more than {_MOST_ROWS} rows can show; see the table",
        )

    def put(figure) -> None:
        axes = axes_of(figure, grid="x")
        ends = [end for _, ratio in rows for end in (ratio["ci95"] or [ratio["ratio"]])]
        axis_of_ratios(axes, [*ends, 1.0])
        margins = {point.margin for point, _ in rows}
        mark_margin(axes, margins.pop() if len(margins) == 1 else None)
        for number, (point, ratio) in enumerate(rows):
            colour = ACCENT if point.verdict in ("faster", "slower") else PLAIN
            if ratio["ci95"]:
                axes.plot(
                    ratio["ci95"],
                    [number, number],
                    color=colour,
                    linewidth=1.6,
                    solid_capstyle="round",
                )
            axes.plot(
                [ratio["ratio"]], [number], "o", color=colour, markersize=4.5, markeredgewidth=0
            )
        axes.set_yticks(range(len(rows)), [shortened(point.label) for point, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("ratio, 95 % interval")

    settled = sum(point.verdict in ("faster", "slower") for point, _ in rows)
    title = f"{settled} of {len(rows)} points differ from their baseline{' (in colour)' if settled else ''}"
    alt = (
        "; ".join(f"{point.label}: {formatting.ratio_and_interval(ratio)}" for point, ratio in rows)
        + "."
    )
    missing = len(points) - len(rows)
    note = f"{missing} of {len(points)} points have no ratio: see the table." if missing else None
    return Drawing(name, title, alt, put, height_in=1.0 + 0.22 * len(rows), note=note)


def _no_ratio(point: Point) -> str:
    if "baseline" not in point.arms:
        return "there is no baseline"
    if point.run.result["status"] == "failed":
        return "the run failed"
    if point.verdict not in formatting.SPOKEN:
        return "the measurement is invalid" if point.verdict == "invalid" else "there is no verdict"
    return "no pair was measured"


def _pairs(point: Point) -> list[list[float]]:
    """The ratios of the pairs that count, block by block."""
    metric = point.primary or ""
    lower = point.arms["candidate"]["metrics"][metric]["better"] == "lower"
    values: dict[tuple[int, int], dict[int, dict[str, float]]] = {}
    for trial in point.trials:
        value = trial.metrics.get(metric)
        if not trial.void and value is not None and value > 0:
            block = values.setdefault((trial.process, trial.block), {})
            block.setdefault(trial.pair, {})[trial.arm] = value
    whole = [[each for each in block.values() if len(each) == 2] for block in values.values()]
    found = [[_ratio(each, lower=lower) for each in block] for block in whole]
    return [block for block in found if block]


def _ratio(pair: dict[str, float], *, lower: bool) -> float:
    ratio = pair["candidate"] / pair["baseline"]
    return 1 / ratio if lower else ratio


def axis_of_ratios(axes: "Axes", values: Sequence[float]) -> None:
    """Logarithmic where factors are far apart; with a little room at both ends."""
    low, high = math.log(min(values)), math.log(max(values))
    room = max(0.06 * (high - low), 0.004)
    if high - low > math.log(_LOG_FROM):
        axes.set_xscale("log")
        ticks = [tick for tick in _TICKS if math.exp(low - room) <= tick <= math.exp(high + room)]
        every: Any = ticks if len(ticks) <= 8 else ticks[:: math.ceil(len(ticks) / 8)]
        axes.set_xticks(every, [f"{tick:g}x" for tick in every])
        axes.set_xticks([], minor=True)
    axes.set_xlim(math.exp(low - room), math.exp(high + room))
    axes.spines["bottom"].set_color(MUTED)


_TICKS = [step * 10.0**power for power in range(-4, 5) for step in (1, 1.5, 2, 3, 5, 7)]


def mark_margin(axes: "Axes", margin: float | None) -> None:
    """A line where both arms are equal, and the band that counts as equal."""
    if margin:
        axes.axvspan(1 - margin, 1 + margin, color=GRID, alpha=0.6, linewidth=0)
    axes.axvline(1, color=INK, linewidth=0.8)
