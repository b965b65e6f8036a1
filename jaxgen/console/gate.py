"""What a gate found, on the terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jaxgen.console.plain_table import plain_table
from jaxgen.results import formatting
from jaxgen.results.schema import Gate, GateRow

_STYLES = {"passed": "bold green", "unsettled": "bold yellow"}
"""Of the outcomes that are no regression; to compare nothing is as bad as one."""


def gate_parts(gate: Gate) -> Iterator[RenderableType]:
    """Yield the table of what was compared, the notes, and the outcome.

    Args:
        gate: the section of that name of a result.
    """
    yield _table(gate)
    for note in gate["notes"]:
        yield Text(f"note: {note}", style="yellow")
    yield outcome_line(gate)


def outcome_line(gate: Gate) -> Text:
    """Make the line with the outcome and its reason.

    Args:
        gate: the section of that name of a result.
    """
    status = gate["status"]
    label = (f" gate: {status} ", _STYLES.get(status, "bold red"))
    return Text.assemble(label, " ", gate["reason"])


def _table(gate: Gate) -> Table:
    table = plain_table()
    table.add_column("gate")
    for column in ("then", "now", "change", "noise"):
        table.add_column(column, justify="right")
    table.add_column("status")
    for row in gate["rows"]:
        table.add_row(*_cells(row))
    return table


def _cells(row: GateRow) -> list[str]:
    case = " ".join(f"{name}={value}" for name, value in row["params"].items())
    change = row["change"]
    return [
        f"{row['metric']} {case}".strip(),
        _number(row["old"]),
        _number(row["new"]),
        "-" if change is None else f"{100 * change:+.1f} %",
        formatting.percent(row.get("noise")),
        row["status"],
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    # With three digits a change of 0.2 % may show the same figure twice: 1.00 and 1.002.
    return formatting.number(value, digits=4)
