"""What the samples of a run say: one summary per metric and arm, and the candidate's ratio with its interval.

Plain numbers go in, after each block and at the end; the dicts that come out stand in `result.json` as they are.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import special

Direction = Literal["higher", "lower"]

MIN_SAMPLES_P99 = 100  # below this the 99th percentile is little more than the maximum
MIN_BLOCKS_P = 6  # the signed-rank p of k blocks is at least 2 / 2**k, and 2 / 2**5 > 0.05


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric of one arm, in `unit`; what cannot be known is None, never 0."""

    unit: str
    better: Direction
    samples: list[float | None]
    n: int
    mean: float | None = None
    std: float | None = None
    median: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


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
        return self.candidate / self.baseline if better == "higher" else self.baseline / self.candidate


def summarise(samples: Sequence[float | None], *, unit: str, better: Direction) -> dict[str, Any]:
    """Sums up one metric of one arm: one sample a trial, in `unit` (such as "s"), None where a trial could give none.

    Percentiles are type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50,
    1996 (numpy's "linear"): the value at position (n - 1) p of the sorted samples, counted from 0, interpolated.

    Returns:
        The block `metrics.<name>` of `result.json`. `samples` is kept whole; `n` and the statistics leave out None.
        `std` is the sample's (n - 1), None below two samples; `p99` is None below 100.
    """
    kept = np.array([sample for sample in samples if sample is not None], dtype=float)
    if not np.isfinite(kept).all():
        raise ValueError(f"samples must be finite numbers or None: {samples}")
    n, known = kept.size, {}
    if n:
        low, p50, p90, p95, p99, high = np.percentile(kept, [0, 50, 90, 95, 99, 100], method="linear").tolist()
        known = {"mean": float(kept.mean()), "median": p50, "min": low, "max": high, "p50": p50, "p90": p90, "p95": p95}
        known |= ({"std": float(kept.std(ddof=1))} if n > 1 else {}) | ({"p99": p99} if n >= MIN_SAMPLES_P99 else {})
    return dataclasses.asdict(Summary(unit=unit, better=better, samples=list(samples), n=n, **known))


def compare(
    pairs: Sequence[Pair], *, better: Direction, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Sets the candidate against the baseline, pair by pair; the same pairs and seed give the same interval.

    The estimate is a geometric mean, the mean of log ratios: swapping the arms gives exactly its reciprocal, which no
    arithmetic mean of ratios does (Fleming and Wallace, "How Not to Lie with Statistics", CACM 29, 1986). Blocks count
    equally, however many pairs they hold: a block is one draw of the placement in memory, the larger part of the noise.

    Args:
        pairs: in any order; a block is one (process, block), so that processes never share one.
        better: which way the metric points.
        confidence: how often such an interval is to hold the truth; names the key ("ci95").
        resamples: bootstrap draws, made with `seed`.

    Returns:
        The block `comparison.<metric>` of `result.json`: {ratio, ci95, blocks, pairs, p_value}. `ci95` is None below
        two blocks: the draw from block to block is unknown. `p_value` is None where it could not reach 0.05.
    """
    blocks: dict[tuple[int, int], list[float]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.process, pair.block, pair.pair)):
        blocks.setdefault((pair.process, pair.block), []).append(math.log(pair.ratio(better)))
    logs = [np.array(block) for block in blocks.values()]
    means = np.array([block.mean() for block in logs])
    interval = None if len(logs) < 2 else [math.exp(end) for end in _log_interval(logs, confidence, resamples, seed)]
    return {
        "ratio": math.exp(means.mean()) if len(logs) else None,
        f"ci{100 * confidence:g}": interval,
        "blocks": len(logs),
        "pairs": len(pairs),
        "p_value": _signed_rank_p(means),
    }


def _log_interval(logs: list[np.ndarray], confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """Bootstraps the mean log ratio over blocks, then pairs, and widens the interval for the small number of blocks.

    The plain percentile interval of k blocks is too narrow: it has (k - 1) / k of the variance and the tails of a known
    spread (Hesterberg, "What Teachers Should Know About the Bootstrap", arXiv:1411.5279, expands it to match t[k-1]).
    Drawing pairs too, though, counts their noise twice, as block means hold it already (Davison and Hinkley, "Bootstrap
    Methods and their Application", 1997, section 3.8). The drawn variance has a closed form, so that one factor does
    both: it brings the drawn standard error to the block means' own, s / sqrt(k), times t / z. It is never below 1,
    lest block means that agree by luck hide what their pairs show.
    """
    k, means = len(logs), np.array([block.mean() for block in logs])
    centre, tail = float(means.mean()), (1 - confidence) / 2
    deviations = _draw_means(logs, resamples, np.random.default_rng(seed)) - centre
    wanted = means.var(ddof=1) / k
    drawn = means.var() / k + sum(block.var() / block.size for block in logs) / k**2
    t_over_z = float(special.stdtrit(k - 1, tail) / special.ndtri(tail))  # both quantiles of the same tail
    factor = max(1.0, t_over_z * math.sqrt(wanted / drawn)) if drawn > 0 else 1.0
    low, high = np.quantile(deviations, [tail, 1 - tail]).tolist()
    return centre + factor * low, centre + factor * high


def _draw_means(logs: list[np.ndarray], resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draws blocks with replacement, then as many pairs of each as it holds; gives the `resamples` means."""
    k, sizes = len(logs), np.array([block.size for block in logs])
    starts, longest = np.cumsum(sizes) - sizes, sizes.max()
    chosen = rng.integers(k, size=(resamples, k, 1))
    size = sizes[chosen]
    pair = starts[chosen] + (rng.random((resamples, k, longest)) * size).astype(int)
    drawn = np.where(np.arange(longest) < size, np.concatenate(logs)[pair], 0.0)
    return (drawn / size).sum(axis=2).mean(axis=1)


def _signed_rank_p(means: np.ndarray) -> float | None:
    """Wilcoxon's, two-sided, exact up to 50 blocks; a block without any difference is dropped, as he does."""
    differing = means[means != 0]
    if differing.size < MIN_BLOCKS_P:
        return None
    from scipy import stats  # a second and a half, which a run of few blocks need not pay

    result: Any = stats.wilcoxon(differing)  # Any: scipy types no fields
    return float(result.pvalue)
