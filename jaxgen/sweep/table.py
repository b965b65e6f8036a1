"""A sweep's own record: one row for each point, on disk as soon as its job ends, and a table."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from jaxgen import report
from jaxgen.console.progress import terminal
from jaxgen.errors import ExitCode
from jaxgen.results import formatting
from jaxgen.results.files import SWEEP, SWEEP_TABLE, save
from jaxgen.sweep.rows import (
    POINTS,
    PointEnd,
    Row,
    measured_row,
    override_keys,
    planned_row,
    read_rows,
    rows_as_csv,
    rows_as_json,
)

_DIED = "its job ended without a word; the launcher's own logs may say why"


class Sweep:
    """The points of one sweep, in the order of their jobs.

    Points of an earlier sweep in the same folder stay in its files until their turn comes again. A
    launcher that runs jobs in processes of its own has each of them write its one row
    (`rows.write_row`), and the rows are gathered at the end.

    Attributes:
        rows: `{number, overrides, folder, reason}` and what the point's result says: `status`,
            `exit_code`, `verdict`, `metric` (the one of the verdict), `candidate` and `baseline`
            (geometric means), `ratio`, `low`, `high`, `agreement`, `against` (the choices of the
            baseline), `gate` (its status), `run_id`; null where there is none, as in a grid, whose
            cases have figures of their own.
        folder: of the sweep's files; null while there are none.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.folder: Path | None = None
        self._earlier_rows: list[Row] = []

    def add(self, overrides: Sequence[str], folder: Path, end: PointEnd) -> None:
        """Record a point that has ended in `sweep.json` and `sweep.csv`, beside its folder.

        Args:
            overrides: of the job, as typed.
            folder: of the run; it need not be there any more.
            end: how it ended.
        """
        row = measured_row(overrides, folder, end, number=len(self.rows))
        self._record([row], folder.parent)

    def plan(self, overrides: Sequence[str], folder: Path, reason: str, *, code: int) -> None:
        """Add a point of a dry run: nothing is written."""
        row = planned_row(overrides, folder, reason, number=len(self.rows), code=code)
        self.rows.append(row)

    def gather(self, folder: Path, points: Sequence[Sequence[str]]) -> None:
        """Take in the rows that jobs in other processes have written.

        Args:
            folder: of the sweep.
            points: the overrides of each, as far as they are known; one without a row is a job
                that died.
        """
        by_number = {}
        for path in (folder / POINTS).glob("*.json"):
            for row in read_rows(path):
                by_number[row["number"]] = row
        if not by_number:
            return
        # A job that was killed has written no row: without this its point would just be missing.
        died = PointEnd(ExitCode.ARM_FAILED, reason=_DIED)
        for number, overrides in enumerate(points):
            if number not in by_number:
                point_folder = folder / str(number)
                by_number[number] = measured_row(overrides, point_folder, died, number=number)
        rows = [by_number[number] for number in sorted(by_number)]
        if any(row.get("planned") for row in rows):
            self.rows += rows  # a dry run leaves no record
        else:
            self._record(rows, folder)
        shutil.rmtree(folder / POINTS, ignore_errors=True)

    def _record(self, rows: Sequence[Row], folder: Path) -> None:
        if self.folder is None:
            self.folder = folder
            self._earlier_rows = read_rows(folder / SWEEP)
        self.rows += rows
        # A sweep that is stopped early must not lose the points that an earlier one has measured.
        # By number: the same command has its points in the same order.
        not_reached = self._earlier_rows[len(self.rows) :]
        every_row = [*self.rows, *not_reached]
        save(folder / SWEEP, rows_as_json(every_row))
        save(folder / SWEEP_TABLE, rows_as_csv(every_row))

    def report(self) -> None:
        """Write pages and plots of all points beside the sweep's files, and print where."""
        if self.folder is None:
            return
        attempt = report.attempt(self.folder)
        if attempt.problem is not None:
            terminal(stderr=True).print(attempt.problem, markup=False, soft_wrap=True)
        else:
            terminal().print(str(attempt.html), markup=False, soft_wrap=True)

    def line(self) -> str:
        """Say in one line how the last point ended."""
        row = self.rows[-1]
        settings = row["overrides"].items()
        overrides = " ".join(f"{key}={value}" for key, value in settings)
        line = f"point {row['number']} ({overrides}): {_outcome(row)}"
        if row["ratio"]:
            ratio = formatting.ratio_and_interval(_comparison(row))
            line = f"{line} {ratio}"
        return line

    def table(self) -> Table:
        """Draw one row per point.

        Its columns are the overrides that vary, both arms' means, the ratio, and the verdict or
        why there is none.
        """
        table = Table(
            title="the sweep",
            box=None,
            pad_edge=False,
            header_style="bold",
            padding=(0, 2, 0, 0),
        )
        varying = self._varying_keys()
        for key in ("#", *varying):
            table.add_column(key)
        table.add_column("metric")
        for key in ("candidate", "baseline", "ratio"):
            table.add_column(key, justify="right")
        table.add_column("verdict", overflow="fold")
        for row in self.rows:
            table.add_row(*_cells(row, varying))
        # One table cannot say against what each point was measured: where that varies, a line does.
        baselines = [row["against"] for row in self.rows if row.get("against")]
        table.caption = formatting.baselines_apart(baselines)
        return table

    def _varying_keys(self) -> list[str]:
        """Return the overridden keys that do not have one value at every point."""
        varying = []
        for key in override_keys(self.rows):
            values = {row["overrides"].get(key) for row in self.rows}
            if len(values) > 1:
                varying.append(key)
        return varying


def _cells(row: Mapping[str, Any], varying: Sequence[str]) -> list[str]:
    """Return the cells of one line of the table."""
    settings = [str(row["overrides"].get(key, "-")) for key in varying]
    return [
        str(row["number"]),
        *settings,
        row["metric"] or "-",
        _number(row["candidate"]),
        _number(row["baseline"]),
        formatting.ratio_and_interval(_comparison(row)),
        _outcome(row),
    ]


def _outcome(row: Mapping[str, Any]) -> str:
    """Return the verdict, or why there is none; and how its gate ended, unless it passed."""
    outcome = row["verdict"] or row["reason"]
    if not outcome:
        outcome = ExitCode(row["exit_code"]).name.lower()
    gate = row.get("gate")
    if gate in (None, "passed"):
        return outcome
    return f"{outcome}; gate: {gate.upper()}"


def _comparison(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a row's ratio and interval as a result has them; null where there is no ratio."""
    if row["ratio"] is None:
        return None
    interval = None if row["low"] is None else [row["low"], row["high"]]
    return {"ratio": row["ratio"], "ci95": interval}


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return formatting.number(value, digits=4)
