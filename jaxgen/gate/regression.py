"""The gate: is the candidate slower than a stored run, by more than a threshold and more than
noise?

`stored_result` is called before anything is measured, so that a file that cannot be used costs no
measurement; `gate_section` after the metrics are summed up. What it returns is `gate` in
`result.json`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxgen.errors import ExitCode
from jaxgen.gate.differences import changed_keys, differences
from jaxgen.gate.measured import rows_of
from jaxgen.gate.rows import compare_rows, moved, name_of
from jaxgen.gate.stored import Stored, read
from jaxgen.results.listing import first_few
from jaxgen.results.schema import Gate, GateRow, Result
from jaxgen.specs.gate import GateSpec, Regression

GateStatus = Literal["passed", "regression", "nothing to compare"]

MOST_NAMED = 4  # rows that a sentence names before it counts the rest

_EXIT_CODES: dict[str, ExitCode] = {
    "passed": ExitCode.OK,
    "regression": ExitCode.REGRESSION,
    "nothing to compare": ExitCode.INVALID,
}


def stored_result(gate: GateSpec) -> tuple[Stored, float] | None:
    """Return what a run's gate compares with, and its threshold; None with `gate=off`.

    Raises:
        UserError: `gate.against` cannot be used.
    """
    match gate:
        case Regression(against=str() as path, threshold=threshold):
            return read(path), threshold
    return None


def gate_section(result: Result, stored: Stored, *, threshold: float, noise_floor: float) -> Gate:
    """Compare a run with a stored one; the section `gate` of `result.json`.

    Args:
        result: with the metrics of the arms (or of the cases), the configurations and the
            environment.
        stored: from `stored_result`, and so is the threshold.
        threshold: the share by which a metric may be worse.
        noise_floor: what this machine cannot tell from nothing, as a share.
    """
    # The candidate alone is gated: it is what a change is tried in. The baseline is a witness
    # (below).
    rows = compare_rows(rows_of(result), stored.rows, threshold=threshold, noise_floor=noise_floor)
    status, reason = outcome_of(rows, threshold=threshold)
    notes = differences(result, stored)
    baseline_note = _baseline_note(result, stored, noise_floor=noise_floor)
    if baseline_note is not None:
        notes.append(baseline_note)
    return {
        "against": stored.path,
        "threshold": threshold,
        "noise_floor": noise_floor,
        "status": status,
        "reason": reason,
        "rows": rows,
        "notes": notes,
    }


def exit_code(gate: Mapping[str, Any]) -> ExitCode:
    """Return what a gate's section means for the run; a run that is invalid itself stays so."""
    return _EXIT_CODES[gate["status"]]


def outcome_of(rows: Sequence[GateRow], *, threshold: float) -> tuple[GateStatus, str]:
    """Return the status of a gate, and one sentence that names the rows it could not compare."""
    good = [row for row in rows if row["status"] == "OK"]
    worse = [row for row in rows if row["status"] == "REGRESSION"]
    unpaired = _unpaired(rows, "MISSING", label="missing")
    unpaired += _unpaired(rows, "NEW", label="new")
    compared = len(good) + len(worse)
    # Never a pass: a gate that compares nothing would let every regression through.
    if not compared:
        return "nothing to compare", f"this run and the stored one have no row in common{unpaired}"
    plural = "" if compared == 1 else "s"
    count = f"of {compared} row{plural} compared"
    percent = f"{100 * threshold:g} %"
    beyond = f"worse by more than {percent} and beyond noise"
    if not worse:
        return "passed", f"{count}, none is {beyond}{unpaired}"
    changes = [_change_of(row) for row in worse]
    named = first_few(changes, most=MOST_NAMED)
    return "regression", f"{count}, {len(worse)} {beyond}: {named}{unpaired}"


def _unpaired(rows: Sequence[GateRow], status: str, *, label: str) -> str:
    """Name the rows without a partner, even where the gate passes: they were not compared."""
    names = [name_of(row) for row in rows if row["status"] == status]
    if not names:
        return ""
    named = first_few(names, most=MOST_NAMED)
    return f"; {label} here: {named}"


def _change_of(row: GateRow) -> str:
    """Such as `latency_s 0.5 -> 0.625 s (+25.0%)`."""
    old, new = row["old"], row["new"]
    values = f"{old:.4g} -> {new:.4g} {row['unit']}"
    return f"{name_of(row)} {values} ({row['change']:+.1%})"


def _baseline_note(result: Result, stored: Stored, *, noise_floor: float) -> str | None:
    """Say how the baseline moved, where it is the same in both runs.

    Nothing was changed in it, so that it shows what the machine did to the figures.
    """
    if stored.result is None:
        return None
    now = result["arms"].get("baseline")
    then = stored.result["arms"].get("baseline")
    if not now or not then or changed_keys(now, then):
        return None
    rows = compare_rows(
        rows_of(result, "baseline"),
        rows_of(stored.result, "baseline"),
        # Not judged, only measured: how far it moved, and whether noise explains that.
        threshold=0,
        noise_floor=noise_floor,
    )
    baseline = moved(rows)
    if baseline is None:
        return None
    note = f"the baseline, unchanged, moved by {baseline['change']:+.1%} in {baseline['metric']}"
    if baseline["is_beyond_noise"]:
        return f"{note}: the machine may have changed, not the code"
    return f"{note}, which is within noise"
