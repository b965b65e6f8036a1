"""What the samples of a run say: one summary per metric and arm, and the candidate's ratio.

Plain numbers go in, after each block and at the end; what comes out stands in `result.json`.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxgen.measure.interval import (
    MIN_BLOCKS,
    Centres,
    centres_of,
    log_half_width,
    starts_are_wider,
    trimmed_centres,
    uses_start_spread,
)
from jaxgen.measure.spread import Nested, block_means, nested, spread_by_level
from jaxgen.measure.start_spread import SHIPPED, StartSpread
from jaxgen.results.schema import Comparison, Direction, Metric, StartSpreadUsed, Trimmed

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
        if not all(0 < value < math.inf for value in values):
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
    pairs: Sequence[Pair], *, better: Direction, start: StartSpread = SHIPPED
) -> Comparison:
    """Compare the candidate with the baseline, pair by pair, in one metric.

    The estimate is a geometric mean, the mean of log ratios: swapping the arms gives exactly its
    reciprocal, which no arithmetic mean of ratios does (Fleming and Wallace, "How Not to Lie with
    Statistics", CACM 29, 1986). Blocks of a process count equally, however many pairs they hold: a
    block is one draw of the placement in memory, the larger part of the noise. So do processes,
    where there are several: each start is a draw of its own, which no number of blocks averages
    out. The interval is that of `interval.log_half_width`, symmetric about the mean of the logs.

    Args:
        pairs: one or more, in any order. A block is one (process, block), so that processes never
            share one.
        better: which way the metric points.
        start: how far equal arms differ from start to start.

    Returns:
        The section `comparison.<metric>` of `result.json`. `ci95` is None below two blocks: how far
        blocks differ is unknown. `p_value` is over block means, and with several processes over
        process means, since blocks that share a process are no independent evidence; None where so
        few could not reach 0.05, that is below six. `spread` is as `spread_by_level` gives it,
        `start_spread` what the interval took for the draw of a start; None where the processes' own
        means decide. `trimmed` is the 20 % trimmed mean over blocks with its interval; None where
        blocks are too few to trim.
    """
    if not pairs:
        raise ValueError("a comparison needs one pair or more")
    # Logarithms from here on, so that half the speed is as far from 1 as twice the speed.
    logs = nested_logs(pairs, better)
    num_blocks = sum(len(process) for process in logs)
    centres, interval, start_used = centres_of(logs), None, None
    if num_blocks >= MIN_BLOCKS:
        interval = _interval(centres, start)
        start_used = _start_used(centres, start)
    return {
        "ratio": math.exp(centres.centre),
        "ci95": interval,
        "blocks": num_blocks,
        "pairs": len(pairs),
        "p_value": _signed_rank_p(_outermost_means(logs)),
        "processes": len(logs),
        "spread": spread_by_level(logs),
        "start_spread": start_used,
        "trimmed": _trimmed(logs, start),
    }


def centres_of_pairs(pairs: Sequence[Pair], *, better: Direction) -> Centres | None:
    """Return where each pair of processes lies; None below two blocks, where nothing tells."""
    logs = nested_logs(pairs, better)
    if sum(len(process) for process in logs) < MIN_BLOCKS:
        return None
    return centres_of(logs)


def nested_logs(pairs: Sequence[Pair], better: Direction) -> Nested:
    """Return the log ratios as processes of blocks of pairs, each in the order of its number."""
    logs = []
    for pair in pairs:
        log = math.log(pair.ratio(better))
        logs.append((pair.process, pair.block, log))
    return nested(logs)


def geometric_mean(values: Iterable[tuple[int, int, float]]) -> float | None:
    """Return the geometric mean over processes of blocks of trials, weighted as a ratio is.

    The quotient of two such means, one of each arm over the same pairs, is the ratio of
    `compare_pairs` to the last digit.

    Args:
        values: as for `nested`.

    Returns:
        The mean; None where there is no value, or one that is not positive.
    """
    logs = []
    for process, block, value in values:
        if not value > 0:
            return None
        logs.append((process, block, math.log(value)))
    if not logs:
        return None
    return math.exp(centres_of(nested(logs)).centre)


def _interval(centres: Centres, start: StartSpread) -> list[float]:
    """Return the ends of the ratio's 95 % interval."""
    ratio = math.exp(centres.centre)
    half_width = log_half_width(centres, start)
    factor = math.exp(half_width)
    return [ratio / factor, ratio * factor]


def _start_used(centres: Centres, start: StartSpread) -> StartSpreadUsed | None:
    """Return what the interval took for the draw of a start, if it took anything."""
    if not uses_start_spread(centres) or starts_are_wider(centres, start):
        return None
    return {"deviation": start.deviation, "freedom": start.freedom, "source": start.source}


def _trimmed(logs: Nested, start: StartSpread) -> Trimmed | None:
    centres = trimmed_centres(logs)
    if centres is None:
        return None
    ratio = math.exp(centres.centre)
    return {"ratio": ratio, "ci95": _interval(centres, start)}


def _outermost_means(logs: Nested) -> np.ndarray:
    """Return the means of the processes where there are several, else of the blocks."""
    if len(logs) == 1:
        means, _ = block_means(logs[0])
        return means
    return centres_of(logs).means


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
