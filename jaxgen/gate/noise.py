"""How far noise may move the logarithm of what a gate compares: now, then, and over several runs.

All is in natural logarithms, so that twice as fast and half as fast are equally far from no change.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from jaxgen.gate.measured import Measured

CONFIDENCE = 0.95
MEDIAN_FACTOR = math.sqrt(math.pi / 2)
"""The standard error of a median over that of a mean, for many normal samples."""

_NORMAL_QUANTILE = float(special.ndtri((1 + CONFIDENCE) / 2))

_SCATTER_P_VALUE = 0.1
"""Below it, runs scatter by more than their intervals say; at 0.05 the test of a few runs would see
too little."""

NO_INTERVAL = "a ratio without an interval: one block says nothing of its noise"


def log_noise(new: Measured, old: Measured, *, noise_floor: float) -> tuple[float | None, str]:
    """Return the half-width of the interval of `log(new / old)`, and what makes it doubtful.

    Two ratios have intervals of their own, which are independent and add up in squares. Two levels
    have samples: Welch's interval for the difference of two means of log values (Welch, "The
    Generalization of 'Student's' Problem when Several Different Population Variances are Involved",
    Biometrika 34, 1947), widened for the medians that are compared, and never below the floor.

    Args:
        new: of this run.
        old: of the stored run, or of several (`pooled`).
        noise_floor: what levels cannot tell from nothing, as a share.

    Returns:
        The half-width, None where nothing is known of it; a clause, empty where nothing is wrong.
    """
    if new.is_ratio:
        if new.half_width is None or old.half_width is None:
            return None, NO_INTERVAL
        # Two ratios, each known to 2.7 %, are compared to 3.8 %.
        return math.hypot(new.half_width, old.half_width), ""
    floor = math.log1p(noise_floor)
    if old.half_width is not None:
        own = half_width_of(new)
        doubt = "" if own is not None else "this run has fewer than two samples"
        return max(floor, math.hypot(own or 0.0, old.half_width)), doubt
    half_width, doubt = _of_samples(new, old)
    return max(floor, half_width), doubt


def half_width_of(row: Measured) -> float | None:
    """Return the half-width of one row's own 95 % interval, in logs; None where it is not known."""
    if row.half_width is not None or row.spread is None:
        return row.half_width
    standard_error = row.spread / math.sqrt(row.n)
    return MEDIAN_FACTOR * _student_quantile(row.n - 1) * standard_error


def pooled(rows: Sequence[Measured], *, of_next: bool = True) -> Measured:
    """Return the same case and metric of several runs as one row, whose noise has their spread.

    Where Cochran's Q finds that the runs scatter by more than their own intervals explain, the
    surplus is the variance between runs, by the moment estimator with equal weights (Hedges and
    Olkin, "Statistical Methods for Meta-Analysis", 1985). The next run draws from it once more, so
    that the half-width is that of a prediction, with Student's quantile for so few runs (Higgins,
    Thompson and Spiegelhalter, "A re-evaluation of random-effects meta-analysis", Journal of the
    Royal Statistical Society A 172, 2009).

    Args:
        rows: of at least one run; their values are not None.
        of_next: whether the noise is that of one more run, as a gate's; else it is that of their
            mean.
    """
    if len(rows) == 1:
        return rows[0]
    logs = []
    variances = []
    for row in rows:
        assert row.value is not None, "a row without a value has no logarithm"
        logs.append(math.log(row.value))
        half_width = half_width_of(row)
        # A run that says nothing of its own noise leaves all of the scatter to the runs' spread.
        standard_error = (half_width or 0.0) / _NORMAL_QUANTILE
        variances.append(standard_error**2)
    count = len(rows)
    standard_error = math.sqrt(sum(variances)) / count
    own_half_width = _NORMAL_QUANTILE * standard_error
    between = _variance_between(logs, variances)
    # Of the mean there is a share of the variance, and the next run's own draw on top.
    variance = between / count
    if of_next:
        variance += between
    spread_half_width = _student_quantile(count - 1) * math.sqrt(variance)
    first = rows[0]
    return Measured(
        params=first.params,
        metric=first.metric,
        unit=first.unit,
        better=first.better,
        value=math.exp(sum(logs) / count),
        n=sum(row.n for row in rows),
        spread=None,
        half_width=math.hypot(own_half_width, spread_half_width),
    )


def _variance_between(logs: Sequence[float], variances: Sequence[float]) -> float:
    """Return the variance between runs: 0 where their own noise explains how they scatter."""
    count = len(logs)
    if min(variances) > 0:
        # The mean that fits best, by weights of one over the variance (Cochran, "The combination of
        # estimates from different experiments", Biometrics 10, 1954).
        weights = 1 / np.asarray(variances)
        best = np.average(logs, weights=weights)
        squares = (np.asarray(logs) - best) ** 2
        q = np.sum(weights * squares)
        p_value = special.chdtrc(count - 1, q)
        if p_value > _SCATTER_P_VALUE:
            return 0.0
    observed = float(np.var(logs, ddof=1))
    own = sum(variances) / count
    return max(0.0, observed - own)


def _of_samples(new: Measured, old: Measured) -> tuple[float, str]:
    """Return Welch's half-width for the medians of two sets of samples.

    One sample alone says nothing of its spread, so that the other side's is taken for both:
    Student's interval for a single new observation.
    """
    known = []
    for row in (new, old):
        if row.spread is not None:
            known.append((row.spread, row.n))
    if not known:
        return 0.0, "neither side has two samples: only the margin is allowed for"
    doubt = ""
    if len(known) == 1:
        spread, n = known[0]
        of_new = spread**2 / max(new.n, 1)
        of_old = spread**2 / max(old.n, 1)
        variance = of_new + of_old
        freedom = float(n - 1)
        doubt = "one side has fewer than two samples: the other side's spread is taken for both"
    else:
        variance, freedom = _welch(known)
    # With 12 samples a side that scatter by 2 %: 0.02 * sqrt(2 / 12) = 0.8 %, times 2.07 and 1.25,
    # is 2.1 %.
    return MEDIAN_FACTOR * _student_quantile(freedom) * math.sqrt(variance), doubt


def _student_quantile(freedom: float) -> float:
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _welch(sides: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Return the variance of a difference of means and its degrees of freedom.

    The freedom is Welch's and Satterthwaite's: (sum of v_i)^2 / sum of v_i^2 / (n_i - 1), where v_i
    is the variance of the mean of side i.

    Args:
        sides: standard deviation of one sample, and how many samples there are.
    """
    variances = [spread**2 / n for spread, n in sides]
    variance = sum(variances)
    # Two equal sides of 12 have 22 degrees of freedom; one that scatters far more has its own 11.
    weights = 0.0
    for own, (_, n) in zip(variances, sides, strict=True):
        weights += own**2 / (n - 1)
    return variance, variance**2 / weights if weights else 1.0
