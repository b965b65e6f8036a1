"""Where the noise of a ratio comes from: from process to process, from block to block, or from pair to pair.

`statistics.compare` puts the result beside each interval; `advice` turns it into what to buy for a narrower one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Nested = Sequence[Sequence[np.ndarray]]
"""The log ratios of a run: processes of blocks of pairs, none of them empty."""

_BUY = {
    "process": ("processes (measure.processes)", "from process to process"),
    "block": ("blocks (measure.blocks)", "from block to block"),
    "pair": ("pairs in a block (measure.trials)", "from pair to pair"),
}


def spread_by_level(logs: Nested) -> dict[str, float | None]:
    """Splits the variance of the log ratio into what each level of the nesting adds to it.

    The method of moments for the nested random-effects model, blocks in processes and pairs in blocks: each level's sum
    of squares is set equal to its expectation, and the three equations are solved from the innermost outwards. With
    unequal numbers that is Henderson's method I (Henderson, "Estimation of Variance and Covariance Components",
    Biometrics 9, 1953; Searle, Casella and McCulloch, "Variance Components", 1992, chapter 5). An estimate below zero
    says that the level adds nothing that can be seen, and is given as 0.0.

    Args:
        logs: log ratios, as `Nested` says.

    Returns:
        {"process", "block", "pair"}: standard deviations of the log ratio, as shares (0.01 = 1 %). None where the level
        has one unit only in each unit of the level above; what it adds is then counted in the level above.

    Example:
        >>> spread_by_level([[np.array([0.01, 0.01]), np.array([0.03, 0.03])]])["pair"]
        0.0
    """
    sizes = [np.array([block.size for block in process]) for process in logs]
    in_process = np.array([size.sum() for size in sizes])
    processes, blocks, pairs = len(logs), sum(map(len, logs)), int(in_process.sum())
    squares = _squares(logs, sizes)
    # How often the block's and the process's variance stand in the expected sums of squares.
    inside = sum(float((size**2).sum() / size.sum()) for size in sizes)
    over_all = sum(float((size**2).sum()) for size in sizes) / max(1, pairs)
    variance: dict[str, float | None] = dict.fromkeys(_BUY)
    if pairs > blocks:
        variance["pair"] = squares["pair"] / (pairs - blocks)
    pair = variance["pair"] or 0.0
    if blocks > processes:
        variance["block"] = (squares["block"] - (blocks - processes) * pair) / (pairs - inside)
    if processes > 1:
        below = (inside - over_all) * (variance["block"] or 0.0) + (processes - 1) * pair
        variance["process"] = (squares["process"] - below) / (
            pairs - float((in_process**2).sum()) / pairs
        )
    return {
        level: None if each is None else math.sqrt(max(0.0, each))
        for level, each in variance.items()
    }


def advice(
    spread: Mapping[str, Any], *, blocks: int, pairs: int, processes: int
) -> str | None:
    """Says what to buy more of: units of the level that adds most to the standard error of the mean.

    More of an outer level brings more of the inner ones too; more of an inner one leaves the outer draws as they are.

    Args:
        spread: as `spread_by_level` gives it.
        blocks: in all processes together, as the comparison counts them.
        pairs: in all blocks together.
        processes: in the run.

    Returns:
        One short sentence, or None where it cannot be told: below two blocks, or without any noise.
    """
    units = {"process": processes, "block": blocks, "pair": pairs}
    variance = {level: each**2 / units[level] for level, each in spread.items() if each is not None}
    total = sum(variance.values())
    if blocks < 2 or not total > 0:
        return None
    level = max(variance, key=variance.__getitem__)
    what, where = _BUY[level]
    return f"more {what} would narrow the interval most: {variance[level] / total:.0%} of its variance comes {where}"


def block_means(process: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each block and its sum of squares about it; in one go, as a run asks after every block."""
    sizes = np.array([block.size for block in process])
    flat, starts = np.concatenate(process), np.cumsum(sizes) - sizes
    means = np.add.reduceat(flat, starts) / sizes
    return means, np.add.reduceat((flat - np.repeat(means, sizes)) ** 2, starts)


def _squares(logs: Nested, sizes: Sequence[np.ndarray]) -> dict[str, float]:
    """Each level's sum of squares about the mean of the level above; pairs count equally, as the method wants it."""
    squares = dict.fromkeys(_BUY, 0.0)
    averages = []
    for process, size in zip(logs, sizes, strict=True):
        means, inside = block_means(process)
        averages.append(float(np.average(means, weights=size)))
        squares["block"] += float((size * (means - averages[-1]) ** 2).sum())
        squares["pair"] += float(inside.sum())
    if averages:
        in_process = np.array([size.sum() for size in sizes])
        strayed = np.array(averages) - np.average(averages, weights=in_process)
        squares["process"] = float((in_process * strayed**2).sum())
    return squares
