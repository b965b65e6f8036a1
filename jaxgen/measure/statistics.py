"""What the samples of a run say: one summary per metric and arm, and the candidate's ratio with its interval.

Plain numbers go in, after each block and at the end; the dicts that come out stand in `result.json` as they are.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from jaxgen.measure.spread import Nested, block_means, spread_by_level
from jaxgen.results.schema import Direction, Metric

MIN_SAMPLES_P99 = 100  # below this the 99th percentile is little more than the maximum
MIN_UNITS_P = 6  # the signed-rank p of k units is at least 2 / 2**k, and 2 / 2**5 > 0.05


@dataclasses.dataclass(frozen=True)
class Pair:
    """One metric of two adjacent trials, one of each arm; both values are positive."""

    process: int
    block: int
    pair: int
    baseline: float
    candidate: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value > 0 for value in (self.baseline, self.candidate)):
            raise ValueError(f"a ratio needs two positive, finite values: {self}")

    def ratio(self, better: Direction) -> float:
        """Above 1 where the candidate is the better one, whichever way the metric points."""
        return (
            self.candidate / self.baseline if better == "higher" else self.baseline / self.candidate
        )


def summarise(samples: Sequence[float | None], *, unit: str, better: Direction) -> Metric:
    """Sum up one metric of one arm.

    Percentiles are type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The
    American Statistician 50, 1996 (numpy's "linear"): the value at position (n - 1) p of the sorted
    samples, counted from 0, interpolated.

    Args:
        samples: one a trial, in `unit`; None where a trial could give none.
        unit: such as "s".
        better: which way the metric points.

    Returns:
        The section `metrics.<name>` of `result.json`. Its `samples` are all of them; `n` and the
        statistics leave out None. `std` is the sample's (n - 1), None below two samples; `p99` is
        None below 100.
    """
    known = np.array([sample for sample in samples if sample is not None], dtype=float)
    if not np.isfinite(known).all():
        raise ValueError(f"samples must be finite numbers or None: {samples}")
    n = known.size
    metric: Metric = {
        "unit": unit,
        "better": better,
        "samples": list(samples),
        "n": n,
        "mean": None,
        "std": None,
        "median": None,
        "min": None,
        "max": None,
        "p50": None,
        "p90": None,
        "p95": None,
        "p99": None,
    }
    if n == 0:
        return metric
    low, p50, p90, p95, p99, high = np.percentile(
        known, [0, 50, 90, 95, 99, 100], method="linear"
    ).tolist()
    metric["mean"] = float(known.mean())
    metric["median"] = metric["p50"] = p50
    metric["min"], metric["max"] = low, high
    metric["p90"], metric["p95"] = p90, p95
    if n > 1:
        metric["std"] = float(known.std(ddof=1))
    if n >= MIN_SAMPLES_P99:
        metric["p99"] = p99
    return metric


def compare(
    pairs: Sequence[Pair],
    *,
    better: Direction,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Sets the candidate against the baseline, pair by pair; the same pairs and seed give the same interval.

    The estimate is a geometric mean, the mean of log ratios: swapping the arms gives exactly its reciprocal, which no
    arithmetic mean of ratios does (Fleming and Wallace, "How Not to Lie with Statistics", CACM 29, 1986). Blocks count
    equally, however many pairs they hold: a block is one draw of the placement in memory, the larger part of the noise.
    So do processes, where there are several: each start is a draw of its own, which no number of blocks averages out.

    Args:
        pairs: in any order; a block is one (process, block), so that processes never share one.
        better: which way the metric points.
        confidence: how often such an interval is to hold the truth; names the key ("ci95").
        resamples: bootstrap draws, made with `seed`.

    Returns:
        The block `comparison.<metric>` of `result.json`: {ratio, ci95, blocks, pairs, p_value, processes, spread}.
        `ci95` is None below two blocks: the draw from block to block is unknown. `p_value` is over block means, and
        with several processes over process means, since blocks that share a process are no independent evidence;
        None where so few could not reach 0.05, that is below six. `spread` is as `spread_by_level` gives it.
    """
    logs = _nested(pairs, better)
    units, blocks = _unit_means(logs), sum(map(len, logs))
    return {
        **_ratio_and_interval(logs, confidence, resamples, seed),
        "blocks": blocks,
        "pairs": len(pairs),
        "p_value": _signed_rank_p(units),
        "processes": len(logs),
        "spread": spread_by_level(logs),
    }


def interval(pairs: Sequence[Pair], *, better: Direction) -> dict[str, Any]:
    """Return `ratio` and `ci95` of `compare` alone: what decides after a block whether to go on."""
    return _ratio_and_interval(_nested(pairs, better), confidence=0.95, resamples=2000, seed=0)


def _ratio_and_interval(
    logs: Nested, confidence: float, resamples: int, seed: int
) -> dict[str, Any]:
    """Return the estimate and its interval, which is None below two blocks."""
    units = _unit_means(logs)
    ends = None
    if sum(map(len, logs)) >= 2:
        ends = [math.exp(end) for end in _log_interval(logs, confidence, resamples, seed)]
    ratio = math.exp(units.mean()) if units.size else None
    return {"ratio": ratio, f"ci{100 * confidence:g}": ends}


def _nested(pairs: Sequence[Pair], better: Direction) -> Nested:
    """The log ratios as processes of blocks of pairs, each in the order of its number."""
    processes: dict[int, dict[int, list[float]]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.process, pair.block, pair.pair)):
        processes.setdefault(pair.process, {}).setdefault(pair.block, []).append(
            math.log(pair.ratio(better))
        )
    return [[np.array(block) for block in blocks.values()] for blocks in processes.values()]


def _unit_means(logs: Nested) -> np.ndarray:
    """The mean of each outermost unit: of a process over its block means, or of a block where there is one process."""
    means = [block_means(process)[0] for process in logs]
    return means[0] if len(means) == 1 else np.array([each.mean() for each in means])


def _log_interval(
    logs: Nested, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Bootstraps the mean log ratio level by level, and brings the interval to the width that its units allow.

    The outermost units are the processes where there are several, else the blocks. The plain percentile interval of k
    units is too narrow: it has (k - 1) / k of the variance and the tails of a known spread (Hesterberg, "What Teachers
    Should Know About the Bootstrap", arXiv:1411.5279, expands it to match t[k-1]). Drawing what is inside the units
    too, though, counts that noise twice, as the units' means hold it already (Davison and Hinkley, "Bootstrap Methods
    and their Application", 1997, section 3.8): where pairs are all the noise there is, it is too wide by a factor of up
    to 1.41. So the drawn interval gives the shape, and `_half_width` says how wide it is. Two processes have one degree
    of freedom: their interval is honestly wide.
    """
    means, tail, rng = _unit_means(logs), (1 - confidence) / 2, np.random.default_rng(seed)
    centre = float(means.mean())
    drawn = (
        _draw_process(logs[0], resamples, rng)
        if len(logs) == 1
        else _draw_runs(logs, resamples, rng)
    )
    low, high = np.quantile(drawn - centre, [tail, 1 - tail]).tolist()
    # Of one process the reach is z times the known deviation of what is drawn. Two or three processes, though, or two
    # blocks, have so few different means to draw that z overstates how far they reach, by up to 1.96 / 1.41.
    few = len(logs) > 1 or len(logs[0]) == 2
    reach = (high - low) / 2 if few else -float(special.ndtri(tail)) * _drawn_deviation(logs[0])
    factor = _half_width(logs, tail) / reach if reach > 0 else 1.0
    return centre + factor * low, centre + factor * high


def _half_width(logs: Nested, tail: float) -> float:
    """Student's t times the standard error of the mean, by the level that gives the most of the three.

    The means of the outermost units hold all noise, and are few. Where they agree by luck, what is inside them still
    says how near the truth their mean can be, with the degrees of freedom that it has itself.
    """
    inside, share = [block_means(process) for process in logs], 1 / len(logs)
    units = np.array([means.mean() for means, _ in inside])
    blocks, pairs = sum(map(len, logs)), sum(block.size for process in logs for block in process)
    by_block = sum(float(((means - means.mean()) ** 2).sum()) for means, _ in inside)
    by_pair = sum(float(squares.sum()) for _, squares in inside)
    of_pairs = [1 / (len(process) ** 2 * block.size) for process in logs for block in process]
    return max(
        _of_level(float(((units - units.mean()) ** 2).sum()), units.size - 1, share, tail),
        _of_level(
            by_block,
            blocks - units.size,
            share**2 * sum(1 / len(process) for process in logs),
            tail,
        ),
        _of_level(by_pair, pairs - blocks, share**2 * sum(of_pairs), tail),
    )


def _of_level(squares: float, freedom: int, share: float, tail: float) -> float:
    """t times the standard error of a mean: its members' common variance, of which it has a `share`."""
    return (
        -float(special.stdtrit(freedom, tail)) * math.sqrt(squares / freedom * share)
        if freedom
        else 0.0
    )


def _drawn_deviation(process: Sequence[np.ndarray]) -> float:
    """The standard deviation of what `_draw_process` draws: of its blocks' means, and of the pairs in each block."""
    k, (means, squares) = len(process), block_means(process)
    return math.sqrt(
        means.var() / k + (squares / np.array([block.size for block in process]) ** 2).sum() / k**2
    )


def _draw_runs(logs: Nested, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draws processes with replacement, and blocks and pairs inside each anew; gives the `resamples` means."""
    chosen = rng.integers(len(logs), size=(resamples, len(logs)))
    means = np.empty(chosen.shape)
    for number, process in enumerate(logs):
        slots = chosen == number
        means[slots] = _draw_process(process, int(slots.sum()), rng)
    return means.mean(axis=1)


def _draw_process(
    process: Sequence[np.ndarray], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws blocks with replacement, then as many pairs of each as it holds; gives the `resamples` means."""
    k, sizes = len(process), np.array([block.size for block in process])
    starts, longest = np.cumsum(sizes) - sizes, sizes.max()
    chosen = rng.integers(k, size=(resamples, k, 1))
    size = sizes[chosen]
    pair = starts[chosen] + (rng.random((resamples, k, longest)) * size).astype(int)
    drawn = np.where(np.arange(longest) < size, np.concatenate(process)[pair], 0.0)
    return (drawn / size).sum(axis=2).mean(axis=1)


def _signed_rank_p(means: np.ndarray) -> float | None:
    """Wilcoxon's, two-sided, exact up to 50 units; a unit without any difference is dropped, as he does."""
    differing = means[means != 0]
    if differing.size < MIN_UNITS_P:
        return None
    from scipy import stats  # a second and a half, which a run of few blocks need not pay

    result: Any = stats.wilcoxon(differing)  # Any: scipy types no fields
    return float(result.pvalue)
