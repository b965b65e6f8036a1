"""What the samples of a run say: one summary per metric and arm, and the candidate's ratio.

Plain numbers go in, after each block and at the end; what comes out stands in `result.json`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgen.measure.interval import MIN_BLOCKS, log_interval, unit_means
from jaxgen.measure.spread import Nested, spread_by_level
from jaxgen.results.schema import Comparison, Direction, Metric

RESAMPLES = 2000
SEED = 0
"""Of the bootstrap: the same pairs give the same interval. With 200 draws it would hold the truth
in 90 % instead of 95 %."""

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
        values = (self.baseline, self.candidate)
        if not all(math.isfinite(value) and value > 0 for value in values):
            raise ValueError(f"a ratio needs two positive, finite values: {self}")

    def ratio(self, better: Direction) -> float:
        """Return the ratio; above 1 the candidate is better, whichever way the metric points."""
        if better == "higher":
            return self.candidate / self.baseline
        return self.baseline / self.candidate


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
    finite = [sample for sample in samples if sample is not None]
    known = np.array(finite, dtype=float)
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


def compare_pairs(
    pairs: Sequence[Pair], *, better: Direction, resamples: int = RESAMPLES, seed: int = SEED
) -> Comparison:
    """Compare the candidate with the baseline, pair by pair, in one metric.

    The estimate is a geometric mean, the mean of log ratios: swapping the arms gives exactly its
    reciprocal, which no arithmetic mean of ratios does (Fleming and Wallace, "How Not to Lie with
    Statistics", CACM 29, 1986). Blocks count equally, however many pairs they hold: a block is one
    draw of the placement in memory, the larger part of the noise. So do processes, where there are
    several: each start is a draw of its own, which no number of blocks averages out.

    Args:
        pairs: one or more, in any order. A block is one (process, block), so that processes never
            share one.
        better: which way the metric points.
        resamples: draws of the bootstrap.
        seed: of the draws; the same pairs and seed give the same interval.

    Returns:
        The section `comparison.<metric>` of `result.json`. `ci95` is None below two blocks: how far
        blocks differ is unknown. `p_value` is over block means, and with several processes over
        process means, since blocks that share a process are no independent evidence; None where so
        few could not reach 0.05, that is below six. `spread` is as `spread_by_level` gives it.
    """
    if not pairs:
        raise ValueError("a comparison needs one pair or more")
    # Logarithms from here on, so that half the speed is as far from 1 as twice the speed.
    logs = nested_logs(pairs, better)
    units = unit_means(logs)
    num_blocks = sum(len(process) for process in logs)
    interval = None
    if num_blocks >= MIN_BLOCKS:
        low, high = log_interval(logs, resamples=resamples, seed=seed)
        interval = [math.exp(low), math.exp(high)]
    return {
        "ratio": math.exp(units.mean()),
        "ci95": interval,
        "blocks": num_blocks,
        "pairs": len(pairs),
        "p_value": _signed_rank_p(units),
        "processes": len(logs),
        "spread": spread_by_level(logs),
    }


def relative_half_width(pairs: Sequence[Pair], *, better: Direction) -> float | None:
    """Return half the width of the ratio's 95 % interval, as a share of the ratio.

    It is the very interval of `compare_pairs`, so that a run which stops at a width prints that
    width. What a comparison has besides, and the other metrics, are not computed.

    Returns:
        Such as 0.02 for 2 %; None below two blocks.
    """
    logs = nested_logs(pairs, better)
    if sum(len(process) for process in logs) < MIN_BLOCKS:
        return None
    low, high = log_interval(logs, resamples=RESAMPLES, seed=SEED)
    ratio = math.exp(unit_means(logs).mean())
    return (math.exp(high) - math.exp(low)) / 2 / ratio


def nested_logs(pairs: Sequence[Pair], better: Direction) -> Nested:
    """Return the log ratios as processes of blocks of pairs, each in the order of its number."""
    processes: dict[int, dict[int, list[float]]] = {}
    # Sorted, as the bootstrap draws by position: the same pairs must give the same interval.
    in_order = sorted(pairs, key=lambda pair: (pair.process, pair.block, pair.pair))
    for pair in in_order:
        blocks = processes.setdefault(pair.process, {})
        block = blocks.setdefault(pair.block, [])
        ratio = pair.ratio(better)
        block.append(math.log(ratio))
    logs = []
    for blocks in processes.values():
        arrays = [np.array(block) for block in blocks.values()]
        logs.append(arrays)
    return logs


def _signed_rank_p(means: np.ndarray) -> float | None:
    """Return the two-sided p of Wilcoxon's signed-rank test, exact up to 50 units.

    A unit without any difference is dropped, as he does.
    """
    differing = means[means != 0]
    if differing.size < MIN_UNITS_P:
        return None
    from scipy import stats  # a second and a half, which a run of few blocks need not pay

    result: Any = stats.wilcoxon(differing)  # Any: scipy types no fields
    return float(result.pvalue)
