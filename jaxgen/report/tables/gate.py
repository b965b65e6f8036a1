"""The table of a gate: each metric then and now."""

from jaxgen.report.settings import as_overrides
from jaxgen.report.tables.cells import UNKNOWN, Cell, Row, Table, text_cell
from jaxgen.results import formatting
from jaxgen.results.schema import Gate, GateRow


def gate_table(gate: Gate) -> Table:
    """Make the table of what a gate compared, with one row for each metric of each case."""
    threshold = formatting.percent(gate["threshold"])
    return Table(
        caption=f"The gate against {gate['against']}, threshold {threshold}",
        columns=("metric", "then", "now", "change", "noise", "status"),
        numeric=(False, True, True, True, True, False),
        rows=tuple(_row(row) for row in gate["rows"]),
    )


def _row(row: GateRow) -> Row:
    case = as_overrides(row["params"])
    name = f"{row['metric']} {case}".strip()
    return (
        text_cell(name),
        _number_cell(row["old"]),
        _number_cell(row["new"]),
        _change_cell(row["change"]),
        _noise_cell(row.get("noise")),
        text_cell(row["status"]),
    )


def _number_cell(value: float | None) -> Cell:
    if value is None:
        return Cell(UNKNOWN)
    # With three digits a change of 0.2 % may show the same figure twice: 1.00 and 1.002.
    text = formatting.number(value, digits=4)
    return Cell(text, value=value)


def _change_cell(change: float | None) -> Cell:
    if change is None:
        return Cell(UNKNOWN)
    return Cell(f"{100 * change:+.1f} %", value=change)


def _noise_cell(noise: float | None) -> Cell:
    # What noise may do to the change, either way.
    return Cell(formatting.percent(noise), value=noise)
