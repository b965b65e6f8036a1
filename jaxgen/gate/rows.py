"""The rows of a gate: each metric of each case, now and then, and whether it became worse."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxgen.gate.measured import Measured
from jaxgen.gate.noise import log_noise
from jaxgen.results.schema import GateRow

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
    noise (`noise.log_noise`). It is UNSETTLED if its noise is more than the threshold and leaves
    room for such a regression: then nothing was found because nothing could have been.

    Args:
        new_rows: of this run.
        old_rows: of the stored one.
        threshold: the share by which a value may be worse.
        noise_floor: what levels cannot tell from nothing, as a share.

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
    noise, doubt = log_noise(new, old, noise_floor=noise_floor)
    row = _unpaired(new, "OK", doubt or None)
    row["old"] = old.value
    row["change"] = new.value / old.value - 1
    if noise is not None:
        row["noise"] = math.expm1(noise)
    _judge(row, noise, threshold=threshold)
    return row


def _judge(row: GateRow, noise: float | None, *, threshold: float) -> None:
    """Set the status of a row that has both values.

    Args:
        row: with its change.
        noise: half-width in logs; None where nothing is known of it.
        threshold: the share by which the value may be worse.
    """
    assert row["change"] is not None, "only rows with both values are judged"
    # From 100 to 89 tokens/s is worse by 11 %, and so is 1.00 to 1.11 ms: the same threshold for
    # both.
    sign = -1 if row["better"] == "higher" else 1
    worse = sign * row["change"]
    if noise is None:
        row["status"] = "UNSETTLED"
        return
    # A change beyond the threshold may still be noise, and noise may be less than the threshold:
    # a regression is beyond both.
    limit = threshold + _ROUNDING
    log_change = math.log1p(row["change"])
    if worse > limit and abs(log_change) > noise:
        row["status"] = "REGRESSION"
        return
    # The worst that the noise leaves room for: a gain may be so large that even this is none.
    log_limit = math.log1p(limit)
    if noise > log_limit and sign * log_change + noise > log_limit:
        row["status"] = "UNSETTLED"
        _add_note(row, _doubt_of(worse, row, threshold=threshold))


def _doubt_of(worse: float, row: GateRow, *, threshold: float) -> str:
    """Say why a row is not settled."""
    noise = f"noise, up to {row['noise']:.1%},"
    if worse > threshold:
        return f"worse by {worse:.1%}, which {noise} explains"
    return f"{noise} hides a regression of {threshold:.1%}"


def _add_note(row: GateRow, note: str) -> None:
    row["note"] = f"{note}; {row['note']}" if row["note"] else note


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
