"""The rows of a gate: each metric of each case, now and then, and whether it became worse."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from scipy import special

from jaxgen.gate.measured import Measured
from jaxgen.results.schema import GateRow

CONFIDENCE = 0.95
MEDIAN_FACTOR = math.sqrt(math.pi / 2)
"""The standard error of a median over that of a mean, for many normal samples."""

_ROUNDING = 1e-9  # 1.1 / 1 - 1 is more than 0.1 in floating point


def compare_rows(
    new_rows: Sequence[Measured],
    old_rows: Sequence[Measured],
    *,
    threshold: float,
    noise_floor: float,
) -> list[GateRow]:
    """Compare each row with the stored one of the same case and metric.

    A row is a REGRESSION if its value is worse by more than the threshold and by more than its
    noise: the half-width of Welch's interval for the difference of two means of log values, at 95 %
    (Welch, "The Generalization of 'Student's' Problem when Several Different Population Variances
    are Involved", Biometrika 34, 1947), widened for the medians that are compared, and never below
    the noise floor. Samples of one run share the process and its moment, which no such interval
    knows of: that is what the noise floor is for, and what the notes say of the baseline.

    Args:
        new_rows: of this run.
        old_rows: of the stored one.
        threshold: the share by which a value may be worse.
        noise_floor: what this machine cannot tell from nothing, as a share.

    Returns:
        A row for each new one, in their order, then those that only the stored run has. Rows
        without a partner are NEW or MISSING, and never left out.
    """
    # By case and metric, not by place: a grid may have grown, or been sorted otherwise.
    old_by_key = {row.key: row for row in old_rows}
    new_keys = {row.key for row in new_rows}
    rows = []
    for new in new_rows:
        old = old_by_key.get(new.key)
        rows.append(_row(new, old, threshold=threshold, noise_floor=noise_floor))
    for old in old_rows:
        if old.key not in new_keys:
            rows.append(_unpaired(old, "MISSING", f"this run has no {old.metric} of this case"))
    return rows


def name_of(row: GateRow) -> str:
    """Return the metric with its case, such as `items_per_s at batch_size=4 num_labels=2`."""
    case = [f"{name}={value}" for name, value in row["params"].items()]
    if not case:
        return row["metric"]
    return f"{row['metric']} at {' '.join(case)}"


def _row(new: Measured, old: Measured | None, *, threshold: float, noise_floor: float) -> GateRow:
    what = f"{new.metric} of this case"
    if old is None:
        return _unpaired(new, "NEW", f"the stored result has no {what}")
    if new.value is None and old.value is None:
        both = "this run and the stored result"
        return _unpaired(old, "MISSING", f"{both} measured no {what}")
    if new.value is None:
        return _unpaired(old, "MISSING", f"this run measured no {what}")
    if old.value is None:
        return _unpaired(new, "NEW", f"the stored result measured no {what}")
    # A change beyond the threshold may still be noise, and noise may be less than the threshold:
    # a regression is beyond both.
    log_noise, doubt = _log_noise(new, old, noise_floor)
    row = _unpaired(new, "OK", doubt)
    row["old"] = old.value
    row["noise"] = math.expm1(log_noise)
    # From 100 to 89 tokens/s is worse by 11 %, and so is 1.00 to 1.11 ms: the same threshold for
    # both.
    ratio = new.value / old.value
    row["change"] = ratio - 1
    worse = row["change"]
    if new.better == "higher":
        worse = -worse
    if worse > threshold + _ROUNDING:
        _judge_worse(row, worse, is_beyond_noise=abs(math.log(ratio)) > log_noise)
    return row


def _judge_worse(row: GateRow, worse: float, *, is_beyond_noise: bool) -> None:
    """Say of a row that is worse by more than the threshold whether noise explains it."""
    if is_beyond_noise:
        row["status"] = "REGRESSION"
        return
    notes = [f"worse by {worse:.1%}, which noise explains (up to {row['noise']:.1%})"]
    if row["note"]:
        notes.append(row["note"])
    row["note"] = "; ".join(notes)


def _unpaired(row: Measured, status: Literal["NEW", "MISSING", "OK"], note: str | None) -> GateRow:
    """Return a row in which nothing is compared."""
    return {
        "params": dict(row.params),
        "metric": row.metric,
        "unit": row.unit,
        "better": row.better,
        "old": row.value if status == "MISSING" else None,
        "new": None if status == "MISSING" else row.value,
        "change": None,
        "noise": None,
        "status": status,
        "note": note,
    }


def _log_noise(new: Measured, old: Measured, noise_floor: float) -> tuple[float, str | None]:
    """Return how far noise may move the log ratio of two medians, and what makes that doubtful.

    One sample alone says nothing of its spread, so that the other side's is taken for both:
    Student's interval for a single new observation.
    """
    floor = math.log1p(noise_floor)
    known = []
    for row in (new, old):
        if row.spread is not None:
            known.append((row.spread, row.n))
    if not known:
        return floor, "neither side has two samples: only the noise floor is allowed for"
    doubt = None
    if len(known) == 1:
        spread, n = known[0]
        of_new = spread**2 / max(new.n, 1)
        of_old = spread**2 / max(old.n, 1)
        variance = of_new + of_old
        freedom = float(n - 1)
        doubt = "one side has fewer than two samples: the other side's spread is taken for both"
    else:
        variance, freedom = _welch(known)
    probability = (1 + CONFIDENCE) / 2
    quantile = float(special.stdtrit(freedom, probability))
    # With 12 samples a side that scatter by 2 %: 0.02 * sqrt(2 / 12) = 0.8 %, times 2.07 and 1.25,
    # is 2.1 %.
    half_width = MEDIAN_FACTOR * quantile * math.sqrt(variance)
    return max(floor, half_width), doubt


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


def moved(rows: Sequence[GateRow]) -> Mapping[str, Any] | None:
    """Return how far the first metric moved over all cases; None where nothing was compared.

    Returns:
        `metric`; `change`, the geometric mean of the changes, as a share; `is_beyond_noise`.
    """
    compared = [row for row in rows if row["change"] is not None]
    if not compared:
        return None
    # The workload's first metric as a rule: the one that the verdict is about.
    metric = compared[0]["metric"]
    of_metric = [row for row in compared if row["metric"] == metric]
    log_changes = [math.log1p(row["change"] or 0) for row in of_metric]
    # Not divided by the square root of the cases: they share the machine, so that their noise is
    # not independent.
    log_noises = [math.log1p(row["noise"] or 0) for row in of_metric]
    count = len(of_metric)
    change = math.exp(sum(log_changes) / count) - 1
    noise = sum(log_noises) / count
    return {
        "metric": metric,
        "change": change,
        "is_beyond_noise": abs(math.log1p(change)) > noise,
    }
