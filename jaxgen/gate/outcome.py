"""What the rows of a gate come to: one status, and one sentence that names what matters."""

from collections.abc import Sequence
from typing import Literal

from jaxgen.gate.rows import name_of
from jaxgen.results.listing import first_few
from jaxgen.results.schema import GateRow

GateStatus = Literal["passed", "regression", "unsettled", "nothing to compare"]

MOST_NAMED = 4  # rows that a sentence names before it counts the rest

_NOTHING = "this run and the stored one have no row in common"


def outcome_of(
    rows: Sequence[GateRow], *, threshold: float, refusal: str | None = None
) -> tuple[GateStatus, str]:
    """Return the status of a gate, and one sentence that names the rows it could not compare.

    Args:
        rows: of the gate.
        threshold: the share by which a metric may be worse.
        refusal: why nothing is compared, where no row is.
    """
    worse = _of_status(rows, "REGRESSION")
    unsettled = _of_status(rows, "UNSETTLED")
    good = _of_status(rows, "OK")
    compared = len(good) + len(worse) + len(unsettled)
    # Rows without a partner are named even where the gate passes: they were not compared.
    unpaired = _named(rows, "MISSING", label="missing")
    unpaired += _named(rows, "NEW", label="new")
    # Never a pass: a gate that compares nothing would let every regression through.
    if not compared:
        return "nothing to compare", f"{refusal or _NOTHING}{unpaired}"
    plural = "" if compared == 1 else "s"
    count = f"of {compared} row{plural} compared"
    percent = f"{100 * threshold:g} %"
    beyond = f"worse by more than {percent} and beyond noise"
    doubt = _changes(unsettled, f"too noisy for a regression of {percent}")
    if worse:
        found = _changes(worse, beyond)
        also = f"; {doubt}" if doubt else ""
        return "regression", f"{count}, {found}{also}{unpaired}"
    if doubt:
        return "unsettled", f"{count}, {doubt}; measure longer{unpaired}"
    return "passed", f"{count}, none is {beyond}{unpaired}"


def _of_status(rows: Sequence[GateRow], status: str) -> list[GateRow]:
    return [row for row in rows if row["status"] == status]


def _changes(rows: Sequence[GateRow], what: str) -> str:
    """Count and name rows of one status; empty where there are none."""
    if not rows:
        return ""
    changes = [_change_of(row) for row in rows]
    named = first_few(changes, most=MOST_NAMED)
    return f"{len(rows)} {what}: {named}"


def _named(rows: Sequence[GateRow], status: str, *, label: str) -> str:
    names = [name_of(row) for row in _of_status(rows, status)]
    if not names:
        return ""
    named = first_few(names, most=MOST_NAMED)
    return f"; {label} here: {named}"


def _change_of(row: GateRow) -> str:
    """Such as `latency_s 0.5 -> 0.625 s (+25.0%)`."""
    old, new = row["old"], row["new"]
    values = f"{old:.4g} -> {new:.4g} {row['unit']}"
    return f"{name_of(row)} {values} ({row['change']:+.1%})"
