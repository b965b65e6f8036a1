"""The list of runs: what was measured when, with what verdict, and where it lies."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from jaxgen.errors import UserError
from jaxgen.report import run_facts
from jaxgen.report.points import whole_run
from jaxgen.report.run_filters import verdict_or_status
from jaxgen.report.settings import sides
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun, Unread
from jaxgen.results.files import RESULT
from jaxgen.results.reading import Unreadable, read_finished_result

_STYLES = {
    "faster": "green",
    "slower": "red",
    "equivalent": "cyan",
    "inconclusive": "yellow",
    "invalid": "bold red",
}


def find(root: Path) -> tuple[list[StoredRun], list[Unread]]:
    """Find all runs in a folder and below it.

    Args:
        root: the folder; its runs are named from there.

    Returns:
        The runs from the oldest to the newest, without their trials; and those that cannot be read.

    Raises:
        UserError: there is no such folder.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder (relative paths start at {Path.cwd()}); "
            "give the folder of your runs"
        )
    runs: list[StoredRun] = []
    unread: list[Unread] = []
    for folder in _run_folders(root):
        # The list is read beside a shell, where the name is typed again.
        name = folder.relative_to(root).as_posix()
        try:
            result = read_finished_result(folder / RESULT)
        except Unreadable as problem:
            unread.append(Unread(folder, name, str(problem)))
        else:
            # Trials are not read: a list of a thousand runs would wait for them.
            runs.append(StoredRun(folder, name, result, (), None))
    runs.sort(key=_start_and_folder)
    unread.sort(key=lambda run: str(run.folder))
    return runs, unread


def table(runs: Sequence[StoredRun], unread: Sequence[Unread] = ()) -> Table:
    """Make the table with one row for each run; those that cannot be read stand at the end."""
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    for column in ("date", "model", "arms", "verdict"):
        # Folded, never cut: what stands here is typed again, which three dots cannot be.
        table.add_column(column, overflow="fold")
    table.add_column("ratio", justify="right", overflow="fold")
    table.add_column("folder", overflow="fold")
    for run in runs:
        verdict = verdict_or_status(run)
        table.add_row(
            Text(run_facts.date_of(run)),
            Text(run_facts.model_of(run)),
            Text(_arms_of(run)),
            Text(verdict, style=_STYLES.get(verdict, "")),
            _ratio_of(run),
            Text(run.name),
        )
    for run in unread:
        reason = Text(f"{run.name}: {run.reason}", style="dim")
        table.add_row("", "", "", Text("not shown", style="dim"), "", reason)
    return table


def _start_and_folder(run: StoredRun) -> tuple[str, str]:
    """Return what runs are sorted by."""
    started_at = run.result.get("started_at") or ""
    return started_at, str(run.folder)


def _run_folders(root: Path) -> Iterator[Path]:
    """Yield the folders with a result; what lies inside of a run's own folder is not searched."""
    for path, below, files in os.walk(root):
        if RESULT in files:
            yield Path(path)
            below.clear()
        # os.walk goes into what is left in the list, in its order.
        # Hidden folders hold no runs, and may be as large as .git.
        visible = []
        for name in below:
            if not name.startswith("."):
                visible.append(name)
        below[:] = sorted(visible)


def _arms_of(run: StoredRun) -> str:
    arms = whole_run(run).arms
    if "baseline" not in arms:
        return "candidate alone"
    described = sides(arms, most=2)
    return " / ".join(described) or "the same"


def _ratio_of(run: StoredRun) -> str:
    # Each case has a ratio of its own, and the list has one column.
    cases = run.result.get("cases")
    if cases:
        return f"{len(cases)} cases"
    ratio = whole_run(run).ratio
    return formatting.ratio_and_interval(ratio) or "-"
