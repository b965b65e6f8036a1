"""A history on the terminal, and as `history.html`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table as TerminalTable
from rich.text import Text

from jaxgen.errors import UserError
from jaxgen.report import rendering
from jaxgen.report.history import Entry, Series
from jaxgen.report.plots import history as history_plot
from jaxgen.report.plots.drawing import Plot
from jaxgen.report.plots.render import render
from jaxgen.report.steps import LEVEL
from jaxgen.report.tables.cells import Cell, Table, text_cell
from jaxgen.results import formatting
from jaxgen.results.files import write_atomically

HTML = "history.html"

METHOD = (
    "Each place of a history is tried: the means on both sides, weighted by the runs' intervals, "
    "are compared, and the largest standardised difference counts (Hawkins 1977), again in the "
    "parts (binary segmentation, Scott and Knott 1974). Where runs scatter by more than their "
    f"intervals say, all are widened. A step is marked where fewer than {LEVEL:.0%} of simulated "
    "histories without one show as large a difference; one odd run is none."
)

_MOST_PLOTS = 40
_COLUMNS = ("date", "commit", "ratio", "step", "folder")


@dataclasses.dataclass(frozen=True)
class _Part:
    """One series of the page; no plot where there are very many."""

    series: Series
    sentence: str
    table: Table
    plot: Plot | None


def terminal_parts(histories: Sequence[Series], notes: Sequence[str]) -> Iterator[RenderableType]:
    """Yield the tables of all histories, and what is in none of them."""
    for series in histories:
        yield Text(series.title, style="bold")
        yield _terminal_table(series)
        yield Text(f"{sentence_of(series)}\n")
    for note in notes:
        yield Text(f"note: {note}", style="dim")


def sentence_of(series: Series) -> str:
    """Say whether a history has steps, and where the last one is."""
    count = len(series.entries)
    if not series.steps:
        return f"{series.metric}: no step in {count} runs"
    found = []
    for step in series.steps:
        entry = series.entries[step.index]
        found.append(f"{step.change:+.1%} at {entry.date} (commit {entry.commit})")
    return f"{series.metric}: in {count} runs a step of {', '.join(found)}"


def write(histories: Sequence[Series], notes: Sequence[str], *, root: Path, folder: Path) -> Path:
    """Write the page of all histories.

    Args:
        histories: at least one.
        notes: what is in none of them.
        root: the folder whose runs they are.
        folder: gets the page.

    Returns:
        The path of the page.

    Raises:
        UserError: the folder cannot be written.
    """
    drawings = []
    for number, series in enumerate(histories[:_MOST_PLOTS]):
        drawings.append(history_plot.draw(series, name=f"history-{number}"))
    plots: list[Plot | None] = list(render(drawings))
    # Every series has its table; pictures of hundreds would make a page that no browser likes.
    plots += [None] * (len(histories) - len(drawings))
    parts = []
    for series, plot in zip(histories, plots, strict=True):
        parts.append(_Part(series, sentence_of(series), _page_table(series), plot))
    page = rendering.history_html(
        {
            "title": f"{len(histories)} questions over time",
            "about": str(root),
            "sentence": _sentence_of_all(histories),
            "parts": parts,
            "notes": list(notes),
            "method": METHOD,
        }
    )
    path = folder / HTML
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page.encode())
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{folder} cannot be written ({reason}); make room, or choose another with --out DIR"
        ) from error
    return path


def _sentence_of_all(histories: Sequence[Series]) -> str:
    stepped = sum(bool(series.steps) for series in histories)
    return f"{stepped} of {len(histories)} questions have a step."


def _terminal_table(series: Series) -> TerminalTable:
    table = TerminalTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in _COLUMNS:
        # Folded, never cut: a folder is typed again.
        table.add_column(column, overflow="fold")
    for number, entry in enumerate(series.entries):
        step = _step_at(series, number)
        marked = Text(step, style="bold red")
        cells = [entry.date, entry.commit, _ratio_of(entry)]
        table.add_row(*map(Text, cells), marked, Text(entry.run.name))
    return table


def _page_table(series: Series) -> Table:
    rows = []
    for number, entry in enumerate(series.entries):
        row = (
            text_cell(entry.date),
            text_cell(entry.commit),
            Cell(_ratio_of(entry), value=entry.ratio),
            text_cell(_step_at(series, number)),
            text_cell(entry.run.name),
        )
        rows.append(row)
    return Table(
        f"{series.metric}, candidate over baseline",
        columns=_COLUMNS,
        numeric=(False, False, True, False, False),
        rows=tuple(rows),
    )


def _ratio_of(entry: Entry) -> str:
    return formatting.ratio_and_interval({"ratio": entry.ratio, "ci95": list(entry.interval)})


def _step_at(series: Series, number: int) -> str:
    """Return what stands beside the first run behind a step; empty at all others."""
    for step in series.steps:
        if step.index == number:
            return f"{step.change:+.1%} (p = {step.p_value:.2g})"
    return ""
