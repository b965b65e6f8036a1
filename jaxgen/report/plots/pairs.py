"""The candidate against the baseline in every pair of one comparison."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.ratio_axis import axis_of_ratios, mark_margin
from jaxgen.report.plots.style import ACCENT, axes_of
from jaxgen.report.points import Point
from jaxgen.results import formatting
from jaxgen.results.schema import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "distribution of ratios"
_MOST_NUMBERED_BLOCKS = 12
_NOTE = (
    "Each dot is a pair. Blue: the ratio and its 95 % interval. "
    "Black: equal, and grey what counts as equal."
)

Block = list[float]
"""The ratios of the pairs of one block."""

Pairs = dict[int, dict[str, float]]
"""The values of both arms, by the number of the pair in its block."""


def draw(point: Point, *, name: str) -> Drawing | LeftOut:
    """Draw the ratio of every pair, block by block, with the interval over all.

    Args:
        point: the one whose trials are drawn.
        name: that of the plot's files.
    """
    comparison = point.ratio
    if comparison is None:
        return LeftOut(name, _SUBJECT, _why_no_ratio(point))
    blocks = _blocks_of(point)
    if not blocks:
        return LeftOut(name, _SUBJECT, point.run.no_trials or "no pair is whole")
    ratios = [ratio for block in blocks for ratio in block]
    count = len(ratios)
    better = [ratio for ratio in ratios if ratio > 1]
    overall = formatting.ratio_and_interval(comparison)
    return Drawing(
        name,
        title=f"The candidate is better in {len(better)} of {count} pairs; ratio {overall}",
        alt=(
            f"{count} pairs in {len(blocks)} blocks, "
            f"ratios from {min(ratios):.3g} to {max(ratios):.3g}; "
            f"all: {overall}."
        ),
        put=lambda figure: _put(axes_of(figure, grid="x"), blocks, comparison, point.margin),
        height_in=min(1.5 + 0.2 * len(blocks), 4.0),
        note=_NOTE,
    )


def _put(
    axes: "Axes", blocks: Sequence[Block], comparison: Comparison, margin: float | None
) -> None:
    interval = comparison["ci95"]
    ratios = [ratio for block in blocks for ratio in block]
    axis_of_ratios(axes, [*ratios, 1.0, *(interval or [])])
    mark_margin(axes, margin)
    # With too few blocks there is no interval.
    if interval:
        low, high = interval
        axes.axvspan(low, high, color=ACCENT, alpha=0.15, linewidth=0)
    axes.axvline(comparison["ratio"], color=ACCENT, linewidth=1.4)
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
    # The first block is at the top, as in trials.csv.
    axes.set_ylim(len(blocks) + 0.6, 0.4)
    if len(blocks) <= _MOST_NUMBERED_BLOCKS:
        axes.set_yticks(range(1, len(blocks) + 1))
    else:
        axes.set_yticks([1, len(blocks)])
    axes.set_ylabel("block")
    axes.set_xlabel("candidate / baseline")


def _why_no_ratio(point: Point) -> str:
    if "baseline" not in point.arms:
        return "there is no baseline"
    if point.run.result["status"] == "failed":
        return "the run failed"
    if point.verdict == "invalid":
        return "the measurement is invalid"
    if point.verdict not in formatting.SPOKEN:
        return "there is no verdict"
    return "no pair was measured"


def _blocks_of(point: Point) -> list[Block]:
    """Return the ratios of the pairs that count; a pair with a void trial does not."""
    metric = point.primary or ""
    metrics = point.arms["candidate"]["metrics"]
    lower_is_better = metrics[metric]["better"] == "lower"
    pairs_of_block: dict[tuple[int, int], Pairs] = {}
    for trial in point.trials:
        value = trial.metrics.get(metric)
        # A void trial is repeated, and its repetition is the one that counts.
        if trial.void or value is None or value <= 0:
            continue
        # Blocks are counted anew in each process.
        key = (trial.process, trial.block)
        pairs = pairs_of_block.setdefault(key, {})
        pair = pairs.setdefault(trial.pair, {})
        pair[trial.arm] = value
    blocks = []
    for pairs in pairs_of_block.values():
        block = []
        for pair in pairs.values():
            # A run that was stopped may end in the middle of a pair.
            if len(pair) < 2:
                continue
            ratio = pair["candidate"] / pair["baseline"]
            # Above 1 is better for every metric: 2 ms against the baseline's 4 ms is 2.
            block.append(1 / ratio if lower_is_better else ratio)
        if block:
            blocks.append(block)
    return blocks
