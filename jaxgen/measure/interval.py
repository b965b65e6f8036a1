"""The interval of a mean log ratio: by a bootstrap its shape, by a formula how wide it is."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from jaxgen.measure.spread import Nested, block_means

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
"""The share of the intervals that is to miss the truth on either side."""

MIN_BLOCKS = 2
"""Below it nothing tells how far blocks differ, so that there is no interval."""


def unit_means(logs: Nested) -> np.ndarray:
    """Return the mean of each outermost unit of a run.

    With several processes a unit is a process, over its block means; else it is a block.
    """
    means_of_blocks = []
    for process in logs:
        means, _ = block_means(process)
        means_of_blocks.append(means)
    # One process says nothing of how starts differ: its blocks are the outermost draws there are.
    if len(logs) == 1:
        return means_of_blocks[0]
    return np.array([means.mean() for means in means_of_blocks])


def log_half_width(logs: Nested) -> float:
    """Return half the width of the 95 % interval of the mean log ratio.

    It is Student's t times the standard error of the mean, at the level of the nesting that gives
    the most. The means of the outermost units hold all noise, and are few. Where they agree by
    luck, what is inside them still says how near the truth their mean can be, with the degrees of
    freedom that it has itself.

    Args:
        logs: log ratios, processes of blocks of pairs; two blocks or more.
    """
    num_processes, num_blocks, num_pairs = len(logs), 0, 0
    process_means = []
    # Sums of squares of each level's units about the mean of the level above.
    squares_of_blocks, squares_of_pairs = 0.0, 0.0
    # What part of a block's, and of a pair's, variance the mean of a process has, summed up.
    # With 6 blocks of 4 pairs a pair weighs 1 / 24, and the mean has 24 / 24**2 of its variance.
    block_shares, pair_shares = 0.0, 0.0
    for process in logs:
        blocks = len(process)
        means, squares_inside = block_means(process)
        process_means.append(means.mean())
        squares_of_blocks += _sum_of_squares(means)
        squares_of_pairs += float(squares_inside.sum())
        num_blocks += blocks
        block_shares += 1 / blocks
        for block in process:
            num_pairs += block.size
            pair_shares += 1 / (blocks**2 * block.size)
    squares_of_processes = _sum_of_squares(np.array(process_means))
    share = 1 / num_processes
    of_processes = _half_width_of_level(squares_of_processes, num_processes - 1, share)
    freedom = num_blocks - num_processes
    of_blocks = _half_width_of_level(squares_of_blocks, freedom, share**2 * block_shares)
    freedom = num_pairs - num_blocks
    of_pairs = _half_width_of_level(squares_of_pairs, freedom, share**2 * pair_shares)
    return max(of_processes, of_blocks, of_pairs)


def _sum_of_squares(values: np.ndarray) -> float:
    """Return the sum of squares about the mean."""
    deviations = values - values.mean()
    return float((deviations**2).sum())


def log_interval(logs: Nested, *, resamples: int, seed: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the mean log ratio.

    A bootstrap, level by level, gives its shape, and `log_half_width` scales it. The outermost
    units are the processes where there are several, else the blocks. The plain percentile interval
    of k units is too narrow: it has (k - 1) / k of the variance and the tails of a known spread
    (Hesterberg, "What Teachers Should Know About the Bootstrap", arXiv:1411.5279, expands it to
    match t[k-1]). Drawing what is inside the units too, though, counts that noise twice, as the
    units' means hold it already (Davison and Hinkley, "Bootstrap Methods and their Application",
    1997, section 3.8): where pairs are all the noise there is, it is too wide by a factor of up to
    1.41. Two processes have one degree of freedom: their interval is honestly wide.

    Args:
        logs: as for `log_half_width`.
        resamples: draws of the bootstrap.
        seed: of the draws; the same seed gives the same interval.
    """
    rng = np.random.default_rng(seed)
    centre = float(unit_means(logs).mean())
    if len(logs) == 1:
        drawn = _draw_process(logs[0], resamples, rng)
    else:
        drawn = _draw_processes(logs, resamples, rng)
    deviations = drawn - centre
    low = float(np.quantile(deviations, TAIL))
    high = float(np.quantile(deviations, 1 - TAIL))
    # With one process of several blocks the reach is z times the known deviation of what is drawn.
    # Two or three processes, or two blocks, have so few different means to draw that z overstates
    # how far they reach, by up to 1.96 / 1.41: there the drawn quantiles are the reach themselves.
    if len(logs) > 1 or len(logs[0]) == 2:
        reach = (high - low) / 2
    else:
        z = -float(special.ndtri(TAIL))
        reach = z * _deviation_of_draws(logs[0])
    factor = 1.0
    if reach > 0:
        factor = log_half_width(logs) / reach
    # The skew of the draws stays, and so do their quantiles beside z: for normal noise the width is
    # that of `log_half_width` within a few percent.
    low, high = factor * low, factor * high
    return centre + low, centre + high


def _half_width_of_level(squares: float, freedom: int, share: float) -> float:
    """Return Student's t times the standard error of the mean, as one level of the nesting says.

    Args:
        squares: sum of squares of the level's units about the mean of the level above.
        freedom: their degrees of freedom; with 0 the level says nothing.
        share: what part of one unit's variance the mean has.
    """
    if freedom == 0:
        return 0.0
    quantile = -float(special.stdtrit(freedom, TAIL))
    return quantile * math.sqrt(squares / freedom * share)


def _deviation_of_draws(process: Sequence[np.ndarray]) -> float:
    """Return the standard deviation of what `_draw_process` draws, which is known."""
    means, squares_inside = block_means(process)
    num_blocks = len(process)
    sizes = np.array([block.size for block in process])
    variances_inside = squares_inside / sizes**2
    of_blocks = means.var() / num_blocks
    of_pairs = variances_inside.sum() / num_blocks**2
    return math.sqrt(of_blocks + of_pairs)


def _draw_processes(logs: Nested, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw processes with replacement, and blocks and pairs inside each anew.

    Returns:
        The means of the draws, shape (resamples,).
    """
    num_processes = len(logs)
    chosen = rng.integers(num_processes, size=(resamples, num_processes))
    means = np.empty(chosen.shape)
    for number, process in enumerate(logs):
        # One call for all draws of a process, instead of one for each resample.
        slots = chosen == number
        count = int(slots.sum())
        means[slots] = _draw_process(process, count, rng)
    return means.mean(axis=1)


def _draw_process(
    process: Sequence[np.ndarray], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw blocks with replacement, then as many pairs of each as it holds.

    Returns:
        The means of the draws, shape (resamples,).
    """
    num_blocks = len(process)
    sizes = np.array([block.size for block in process])
    # Where each block begins in the flat array: blocks of 4, 4 and 3 pairs at 0, 4 and 8.
    starts = np.cumsum(sizes) - sizes
    longest = sizes.max()
    flat = np.concatenate(process)
    chosen = rng.integers(num_blocks, size=(resamples, num_blocks, 1))
    size = sizes[chosen]
    # Blocks may differ in size: each draws as many pairs as the longest, and the surplus is 0.
    uniform = rng.random((resamples, num_blocks, longest))
    inside_block = (uniform * size).astype(int)
    pair = starts[chosen] + inside_block
    is_drawn = np.arange(longest) < size
    drawn = np.where(is_drawn, flat[pair], 0.0)
    means_of_blocks = (drawn / size).sum(axis=2)
    return means_of_blocks.mean(axis=1)
