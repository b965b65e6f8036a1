"""Where the noise of a ratio comes from: from process to process, block to block, or pair to pair.

`statistics.compare_pairs` puts the result beside each interval; `advice` turns it into what to
measure more of for a narrower one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.results.schema import Spread

Nested = Sequence[Sequence[np.ndarray]]
"""The log ratios of a run: processes of blocks of pairs, none of them empty."""

_LEVELS = {
    "process": ("processes (measure.processes)", "from process to process"),
    "block": ("blocks (measure.blocks)", "from block to block"),
    "pair": ("pairs in a block (measure.trials)", "from pair to pair"),
}
"""The levels of the nesting: what their units are called, and where their noise comes from."""


def nested(values: Iterable[tuple[int, int, float]]) -> Nested:
    """Return values as processes of blocks of values.

    Args:
        values: each with the numbers of its process and block.
    """
    processes: dict[int, dict[int, list[float]]] = {}
    for process, block, value in values:
        blocks = processes.setdefault(process, {})
        in_block = blocks.setdefault(block, [])
        in_block.append(value)
    result = []
    for _, blocks in sorted(processes.items()):
        in_order = sorted(blocks.items())
        arrays = [np.array(block) for _, block in in_order]
        result.append(arrays)
    return result


def spread_by_level(logs: Nested) -> Spread:
    """Split the variance of the log ratio into what each level of the nesting adds to it.

    The method of moments for the nested random-effects model, blocks in processes and pairs in
    blocks: each level's sum of squares is set equal to its expectation, and the three equations are
    solved from the innermost outwards. With unequal numbers that is Henderson's method I
    (Henderson, "Estimation of Variance and Covariance Components", Biometrics 9, 1953; Searle,
    Casella and McCulloch, "Variance Components", 1992, chapter 5). An estimate below zero says that
    the level adds nothing that can be seen, and is given as 0.0.

    Args:
        logs: log ratios, as `Nested` says.

    Returns:
        Standard deviations of the log ratio, as shares (0.01 = 1 %). None where the level has one
        unit only in each unit of the level above; what it adds is then counted in the level above.

    Example:
        >>> spread_by_level([[np.array([0.01, 0.01]), np.array([0.03, 0.03])]])["pair"]
        0.0
    """
    spread: Spread = {"process": None, "block": None, "pair": None}
    if not logs:
        return spread
    sizes = _sizes(logs)
    squares = _sums_of_squares(logs, sizes)
    processes = len(sizes)
    blocks = sum(map(len, sizes))
    pairs = sum(_pairs_in_process(sizes))
    inside, over_all = _multiplicities(sizes)
    of_pairs, of_blocks = 0.0, 0.0
    # Each level's sum holds the variances of all levels below it, which are known by then.
    # Blocks of one pair each show nothing of how pairs differ inside one.
    if pairs > blocks:
        of_pairs = squares["pair"] / (pairs - blocks)
        spread["pair"] = _deviation(of_pairs)
    if blocks > processes:
        own = squares["block"] - (blocks - processes) * of_pairs
        # With blocks of one size the divisor is that size times the degrees of freedom. A negative
        # estimate is used further down as it is: cut off at 0 it would bias the level above.
        of_blocks = own / (pairs - inside)
        spread["block"] = _deviation(of_blocks)
    if processes > 1:
        below = (inside - over_all) * of_blocks
        below += (processes - 1) * of_pairs
        own = squares["process"] - below
        divisor = _divisor_of_processes(sizes)
        spread["process"] = _deviation(own / divisor)
    return spread


def _pairs_in_process(sizes: Sequence[np.ndarray]) -> list[int]:
    return [int(size.sum()) for size in sizes]


def _divisor_of_processes(sizes: Sequence[np.ndarray]) -> float:
    """Return how often the process's variance stands in the expected sum of its squares."""
    counts = _pairs_in_process(sizes)
    pairs = sum(counts)
    squared = sum(count**2 for count in counts)
    return pairs - squared / pairs


def _multiplicities(sizes: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return how often the block's variance stands in the expected sums of squares.

    Args:
        sizes: as `_sizes` gives them.

    Returns:
        The number inside the processes, and over all of them.
    """
    inside, squared_sizes, pairs = 0.0, 0.0, 0
    for size in sizes:
        squared = (size**2).sum()
        pairs += int(size.sum())
        inside += float(squared / size.sum())
        squared_sizes += float(squared)
    return inside, squared_sizes / pairs


def _sizes(logs: Nested) -> list[np.ndarray]:
    """Return how many pairs each block holds, process by process."""
    sizes = []
    for process in logs:
        in_process = [block.size for block in process]
        sizes.append(np.array(in_process))
    return sizes


def advice(
    spread: Mapping[str, Any],
    *,
    blocks: int,
    pairs: int,
    processes: int,
    start: Mapping[str, Any] | None = None,
) -> str | None:
    """Say what to measure more of: units of the level that adds most to the error of the mean.

    More of an outer level brings more of the inner ones too; more of an inner one leaves the outer
    draws as they are.

    Args:
        spread: as `spread_by_level` gives it.
        blocks: in all processes together, as the comparison counts them.
        pairs: in all blocks together.
        processes: in the run.
        start: what the interval took for the draw of a start; None where it took nothing.

    Returns:
        One short sentence, or None where nothing can be said: below two blocks, or without any
        noise.
    """
    units = {"process": processes, "block": blocks, "pair": pairs}
    variance_of = {}
    levels = dict(spread)
    if start is not None:
        # Two starts say little of how far starts differ: what the interval took for it counts.
        levels["process"] = start["deviation"]
    for level, deviation in levels.items():
        if deviation is not None:
            # What a level adds to the variance of the mean falls with the number of its units.
            variance_of[level] = deviation**2 / units[level]
    total = sum(variance_of.values())
    if blocks < 2 or not total > 0:
        return None
    noisiest = max(variance_of, key=variance_of.__getitem__)
    what, where = _LEVELS[noisiest]
    share = variance_of[noisiest] / total
    evidence = f"{share:.0%} of its variance comes {where}"
    return f"more {what} would narrow the interval most: {evidence}"


def block_means(process: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each block and its sum of squares about it.

    All blocks are summed up in one go, as a run asks after every block.
    """
    sizes = np.array([block.size for block in process])
    starts = np.cumsum(sizes) - sizes
    flat = np.concatenate(process)
    # `reduceat` sums from each start up to the next.
    means = np.add.reduceat(flat, starts) / sizes
    deviations = flat - np.repeat(means, sizes)
    return means, np.add.reduceat(deviations**2, starts)


def _deviation(variance: float) -> float:
    return math.sqrt(max(0.0, variance))


def _sums_of_squares(logs: Nested, sizes: Sequence[np.ndarray]) -> dict[str, float]:
    """Return each level's sum of squares about the mean of the level above.

    Pairs count equally, as the method wants it.
    """
    of_blocks, of_pairs = 0.0, 0.0
    averages = []
    for process, size in zip(logs, sizes, strict=True):
        means, inside = block_means(process)
        average = float(np.average(means, weights=size))
        averages.append(average)
        deviations = means - average
        of_blocks += float((size * deviations**2).sum())
        of_pairs += float(inside.sum())
    pairs = np.array([size.sum() for size in sizes])
    grand_average = np.average(averages, weights=pairs)
    deviations = np.array(averages) - grand_average
    of_processes = float((pairs * deviations**2).sum())
    return {"process": of_processes, "block": of_blocks, "pair": of_pairs}
