"""The gate: is the candidate slower than a stored run said, by more than a threshold and more than noise explains?

`yardstick` is asked before anything is measured, so that a file that cannot be used costs no measurement; `block` after
the metrics are summed up, and what it gives stands in `result.json` as `gate`.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from scipy import special

from jaxgen.errors import ExitCode
from jaxgen.gate.differences import changed_keys, differences
from jaxgen.gate.stored import Measured, Stored, read, rows_of
from jaxgen.results.schema import Gate, GateRow
from jaxgen.specs.gate import GateSpec, Regression

Status = Literal["OK", "REGRESSION", "NEW", "MISSING"]
Outcome = Literal["passed", "regression", "nothing to compare"]

CONFIDENCE = 0.95
MEDIAN_FACTOR = math.sqrt(
    math.pi / 2
)  # a median's standard error over a mean's, for many normal samples

SHOWN = 4  # rows that a sentence names before it counts the rest
_HAIR = 1e-9  # 1.1 / 1 - 1 is more than 0.1 in floating point

_EXIT_CODES: dict[Outcome, ExitCode] = {
    "passed": ExitCode.OK,
    "regression": ExitCode.REGRESSION,
    "nothing to compare": ExitCode.INVALID,
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric of one case, then and now.

    Attributes:
        old, new: medians in `unit`; None where there is none.
        change: of the value, as a share of the old one (-0.1: 10 % less), whichever way is better.
        noise: the share by which the value may differ without meaning anything; None where nothing was compared.
        note: why the row has this status, where that does not go without saying.
    """

    params: Mapping[str, Any]
    metric: str
    unit: str
    better: Literal["higher", "lower"]
    old: float | None
    new: float | None
    change: float | None
    noise: float | None
    status: Status
    note: str | None = None

    @property
    def name(self) -> str:
        """Such as `items_per_s at batch_size=4 num_labels=2`."""
        case = " ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.metric} at {case}" if case else self.metric


def yardstick(gate: GateSpec) -> tuple[Stored, float] | None:
    """What a run's gate compares with, and its threshold; None with `gate=off`.

    Raises:
        UserError: `gate.against` cannot be used.
    """
    match gate:
        case Regression(against=str() as path, threshold=threshold):
            return read(path), threshold
    return None


def block(
    result: Mapping[str, Any], stored: Stored, *, threshold: float, noise_floor: float
) -> Gate:
    """The block `gate` of `result.json`: {against, threshold, status, reason, rows, notes}.

    Args:
        result: with the metrics of the arms (or of the cases), the configurations and the environment.
        stored: from `yardstick`, and so is the threshold.
        noise_floor: what this machine cannot tell from nothing, as a share.
    """
    rows = judge(rows_of(result), stored.rows, threshold=threshold, noise_floor=noise_floor)
    status, reason = verdict_of(rows, threshold=threshold)
    return {
        "against": stored.path,
        "threshold": threshold,
        "noise_floor": noise_floor,
        "status": status,
        "reason": reason,
        "rows": [cast(GateRow, dataclasses.asdict(row)) for row in rows],
        "notes": differences(result, stored)
        + _baseline_note(result, stored, noise_floor=noise_floor),
    }


def exit_code(gate: Mapping[str, Any]) -> ExitCode:
    """What a `block` means for the run; a run that is invalid itself stays so."""
    return _EXIT_CODES[gate["status"]]


def judge(
    new_rows: Sequence[Measured],
    old_rows: Sequence[Measured],
    *,
    threshold: float,
    noise_floor: float,
) -> list[Row]:
    """Sets each row against the stored one of the same case and metric; those without a partner are named.

    A row is a REGRESSION if its value is worse by more than the threshold and by more than its noise: the half-width of
    Welch's interval for the difference of two means of log values, at 95 % (Welch, "The Generalization of 'Student's'
    Problem when Several Different Population Variances are Involved", Biometrika 34, 1947), widened for the medians
    that are compared, and never below the noise floor. Samples of one run share the process and its moment, which no
    such interval knows of: that is what the noise floor is for, and what the notes say of the baseline.

    Returns:
        A row for each new one, in their order, then those that are missing.
    """
    old = {row.key: row for row in old_rows}
    new_keys = {row.key for row in new_rows}
    judged = [
        _row(row, old.get(row.key), threshold=threshold, noise_floor=noise_floor)
        for row in new_rows
    ]
    return judged + [
        _alone(row, "MISSING", f"this run has no {row.metric} of this case")
        for row in old_rows
        if row.key not in new_keys
    ]


def verdict_of(rows: Sequence[Row], *, threshold: float) -> tuple[Outcome, str]:
    """The outcome of a gate, and one sentence that names every row it could not compare, up to a few."""
    by_status = {
        status: [row for row in rows if row.status == status]
        for status in ("REGRESSION", "NEW", "MISSING")
    }
    compared = [row for row in rows if row.status in ("OK", "REGRESSION")]
    unpaired = "".join(
        f"; {label} here: {_listed([row.name for row in by_status[status]])}"
        for status, label in (("MISSING", "missing"), ("NEW", "new"))
        if by_status[status]
    )
    if not compared:
        return "nothing to compare", f"this run and the stored one have no row in common{unpaired}"
    beyond = f"worse by more than {100 * threshold:g} % and beyond noise"
    worse = by_status["REGRESSION"]
    if worse:
        told = _listed(
            [
                f"{row.name} {row.old:.4g} -> {row.new:.4g} {row.unit} ({row.change:+.1%})"
                for row in worse
            ]
        )
        return (
            "regression",
            f"of {_rows(compared)} compared, {len(worse)} {beyond}: {told}{unpaired}",
        )
    return "passed", f"of {_rows(compared)} compared, none is {beyond}{unpaired}"


def _row(new: Measured, old: Measured | None, *, threshold: float, noise_floor: float) -> Row:
    if old is None:
        return _alone(new, "NEW", f"the stored result has no {new.metric} of this case")
    if new.value is None:
        here = (
            "this run and the stored result measured" if old.value is None else "this run measured"
        )
        return _alone(old, "MISSING", f"{here} no {new.metric} of this case")
    if old.value is None:
        return _alone(new, "NEW", f"the stored result measured no {new.metric} of this case")
    change = new.value / old.value - 1
    worse = -change if new.better == "higher" else change
    noise, doubt = _noise(new, old, noise_floor)
    beyond_noise = abs(math.log(new.value / old.value)) > noise
    regressed = worse > threshold + _HAIR and beyond_noise
    within = f"worse by {worse:.1%}, which noise explains (up to {math.expm1(noise):.1%})"
    reasons = ([within] if worse > threshold + _HAIR and not beyond_noise else []) + (
        [doubt] if doubt else []
    )
    return Row(
        **_identity(new),
        old=old.value,
        new=new.value,
        change=change,
        noise=math.expm1(noise),
        status="REGRESSION" if regressed else "OK",
        note="; ".join(reasons) or None,
    )


def _noise(new: Measured, old: Measured, noise_floor: float) -> tuple[float, str | None]:
    """Half the width of the interval for the log ratio, and what makes it doubtful.

    One sample alone says nothing of its spread, so that the other side's is taken for both: Student's interval for a
    single new observation.
    """
    floor = math.log1p(noise_floor)
    known = [(row.spread, row.n) for row in (new, old) if row.spread is not None]
    if not known:
        return floor, "neither side has two samples: only the noise floor is allowed for"
    if len(known) == 1:
        ((spread, n),) = known
        variance, freedom = spread**2 * (1 / max(new.n, 1) + 1 / max(old.n, 1)), n - 1
        doubt = "one side has fewer than two samples: the other side's spread is taken for both"
    else:
        parts = [spread**2 / n for spread, n in known]
        variance, doubt = sum(parts), None
        weights = sum(part**2 / (n - 1) for part, (_, n) in zip(parts, known, strict=True))
        freedom = variance**2 / weights if weights else 1.0
    quantile = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))
    return max(floor, MEDIAN_FACTOR * quantile * math.sqrt(variance)), doubt


def _baseline_note(result: Mapping[str, Any], stored: Stored, *, noise_floor: float) -> list[str]:
    """How the baseline moved, where it is the same in both: it shows what the machine did to the figures."""
    now, then = (each["arms"].get("baseline") for each in (result, stored.result or {"arms": {}}))
    if not now or not then or changed_keys(now, then):
        return []
    rows = judge(
        rows_of(result, "baseline"),
        rows_of(stored.result or {}, "baseline"),
        threshold=0,
        noise_floor=noise_floor,
    )
    compared = [row for row in rows if row.change is not None]
    first = [row for row in compared if row.metric == compared[0].metric]  # of every case
    if not first:
        return []
    change = math.exp(statistics.fmean(math.log1p(row.change or 0) for row in first)) - 1
    beyond_noise = abs(math.log1p(change)) > statistics.fmean(
        math.log1p(row.noise or 0) for row in first
    )
    told = f"the baseline, unchanged, moved by {change:+.1%} in {first[0].metric}"
    return [
        f"{told}: the machine may have changed, not the code"
        if beyond_noise
        else f"{told}, which is within noise"
    ]


def _alone(row: Measured, status: Literal["NEW", "MISSING"], note: str) -> Row:
    old, new = (row.value, None) if status == "MISSING" else (None, row.value)
    return Row(
        **_identity(row), old=old, new=new, change=None, noise=None, status=status, note=note
    )


def _identity(row: Measured) -> dict[str, Any]:
    return {
        "params": dict(row.params),
        "metric": row.metric,
        "unit": row.unit,
        "better": row.better,
    }


def _rows(rows: Sequence[Row]) -> str:
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
