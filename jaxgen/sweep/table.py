"""A sweep's own record: one row for each point, on disk as soon as its job ends, and a table of them all."""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from jaxgen import report
from jaxgen.config.typed import split
from jaxgen.console.progress import terminal
from jaxgen.errors import ExitCode
from jaxgen.results import formatting
from jaxgen.results.files import RESULT, SWEEP, SWEEP_TABLE, replace

POINTS = ".points"
"""The folder of rows that wait to be gathered."""

_FIGURES = (
    "status",
    "exit_code",
    "verdict",
    "metric",
    "candidate",
    "baseline",
    "ratio",
    "low",
    "high",
    "agreement",
)


class Sweep:
    """The points of one sweep, in the order of their jobs.

    Points of an earlier sweep in the same folder stay in its files until their turn comes again. A launcher that runs
    jobs in processes of their own has each of them note its one row (`noted`), and the rows are gathered at the end.

    Attributes:
        rows: `{number, overrides, folder, reason}` and what the point's result says: `status`, `exit_code`, `verdict`,
            `metric` (the one of the verdict), `candidate` and `baseline` (medians), `ratio`, `low`, `high`,
            `agreement`, `against` (the baseline's choices), `gate` (its status), `run_id`; null where there is none, as
            in a grid, whose cases have figures of their own.
        folder: of the sweep's files; null while there are none.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.folder: Path | None = None
        self._before: list[dict[str, Any]] = []

    def add(
        self,
        overrides: Sequence[str],
        folder: Path,
        *,
        code: int,
        reason: str | None = None,
        kept: bool = False,
    ) -> None:
        """One more point has ended; `sweep.json` and `sweep.csv` beside its folder say so.

        Args:
            overrides: of the job, as typed.
            folder: of the run; it need not be there any more.
            code: its exit code.
            reason: why there is no result; null takes the result's own.
            kept: the result is of an earlier sweep.
        """
        row = row_of(overrides, folder, number=len(self.rows), code=code, reason=reason)
        self._keep([{**row, "kept": kept}], folder.parent)

    def gather(self, folder: Path, points: Sequence[Sequence[str]]) -> None:
        """Take in what jobs in other processes have noted, each its row.

        Args:
            folder: of the sweep.
            points: the overrides of each, as far as they are known; one without a word is a job that died.
        """
        noted = {
            row["number"]: row
            for path in (folder / POINTS).glob("*.json")
            for row in _rows_of(path)
        }
        if not noted:
            return
        for number, overrides in enumerate(points):
            where = folder / str(number)
            silent = "its job ended without a word; the launcher's own logs may say why"
            noted.setdefault(
                number,
                row_of(overrides, where, number=number, code=ExitCode.ARM_FAILED, reason=silent),
            )
        rows = [noted[number] for number in sorted(noted)]
        if any(row.get("planned") for row in rows):
            self.rows += rows  # of a dry run, which leaves no record
        else:
            self._keep(rows, folder)
        shutil.rmtree(folder / POINTS, ignore_errors=True)

    def _keep(self, rows: Sequence[dict[str, Any]], folder: Path) -> None:
        if self.folder is None:
            self.folder = folder
            self._before = _rows_of(folder / SWEEP)
        self.rows += rows
        every = [*self.rows, *self._before[len(self.rows) :]]
        replace(folder / SWEEP, _json(every))
        replace(folder / SWEEP_TABLE, _csv(every))

    def plan(self, overrides: Sequence[str], folder: Path, told: str, *, code: int) -> None:
        """One more point that is only looked at: nothing is written."""
        self.rows.append(planned(overrides, folder, told, number=len(self.rows), code=code))

    def report(self) -> None:
        """Pages and plots of all points beside the sweep's files, if there are any, and where they are."""
        if self.folder is None:
            return
        made = report.attempt(self.folder)
        if made.problem is not None:
            terminal(stderr=True).print(made.problem, markup=False, soft_wrap=True)
        else:
            terminal().print(str(made.html), markup=False, soft_wrap=True)

    def line(self) -> str:
        """What became of the last point."""
        row = self.rows[-1]
        said = " ".join(f"{key}={value}" for key, value in row["overrides"].items())
        ratio = (
            formatting.ratio_and_interval({"ratio": row["ratio"], "ci95": _interval(row)})
            if row["ratio"]
            else ""
        )
        return f"point {row['number']} ({said}): {_told(row)} {ratio}".rstrip()

    def table(self) -> Table:
        """One row per point: what varies among them, both arms' medians, the ratio, the verdict or the reason."""
        table = Table(
            box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), title="the sweep"
        )
        varying = [
            key
            for key in _keys(self.rows)
            if len({row["overrides"].get(key) for row in self.rows}) > 1
        ]
        for key in ("#", *varying):
            table.add_column(key)
        for key in ("metric", "candidate", "baseline", "ratio"):
            table.add_column(key, justify="left" if key == "metric" else "right")
        table.add_column("verdict", overflow="fold")
        for row in self.rows:
            medians = [_cell(row[arm]) for arm in ("candidate", "baseline")]
            compared = (
                None if row["ratio"] is None else {"ratio": row["ratio"], "ci95": _interval(row)}
            )
            named = [str(row["overrides"].get(key, "-")) for key in varying]
            ratio = formatting.ratio_and_interval(compared)
            table.add_row(
                str(row["number"]), *named, row["metric"] or "-", *medians, ratio, _told(row)
            )
        table.caption = formatting.baselines_apart(
            row["against"] for row in self.rows if row.get("against")
        )
        return table


def row_of(
    overrides: Sequence[str], folder: Path, *, number: int, code: int, reason: str | None
) -> dict[str, Any]:
    """A point as `Sweep.rows` has it."""
    row = {"number": number, "overrides": dict(map(split, overrides)), "folder": folder.name}
    return {**row, "exit_code": int(code), **_figures(folder / RESULT, reason)}


def planned(
    overrides: Sequence[str], folder: Path, told: str, *, number: int, code: int
) -> dict[str, Any]:
    """The row of a point that is only looked at."""
    empty = dict.fromkeys((*_FIGURES, "against", "gate", "run_id"))
    row = {"number": number, "overrides": dict(map(split, overrides)), "folder": folder.name}
    return {**row, **empty, "exit_code": int(code), "reason": told, "planned": True}


def noted(row: Mapping[str, Any], folder: Path) -> None:
    """Leave one row in the sweep's folder, for the process that gathers them."""
    (folder / POINTS).mkdir(parents=True, exist_ok=True)
    replace(folder / POINTS / f"{row['number']}.json", _json([row]))


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"points": rows}, indent=2, allow_nan=False) + "\n"


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row["overrides"]))


def _told(row: Mapping[str, Any]) -> str:
    """The verdict, or why there is none; and what its gate found, unless it passed."""
    told = row["verdict"] or row["reason"] or ExitCode(row["exit_code"]).name.lower()
    return told if row.get("gate") in (None, "passed") else f"{told}; gate: {row['gate'].upper()}"


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    keys, text = _keys(rows), io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", *keys, *_FIGURES, "reason", "folder"])
    for row in rows:
        given = [row["overrides"].get(key, "") for key in keys]
        known = ["" if row[name] is None else row[name] for name in (*_FIGURES, "reason", "folder")]
        writer.writerow([row["number"], *given, *known])
    return text.getvalue()


def _rows_of(path: Path) -> list[dict[str, Any]]:
    """The points of an earlier sweep; none where there was none, or its record is damaged."""
    columns = {"number", "overrides", "folder", "reason", *_FIGURES}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["points"]
        return rows if all(columns <= set(row) for row in rows) else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _figures(result: Path, reason: str | None) -> dict[str, Any]:
    """What a result says of its point; nulls where there is none that can be read."""
    empty = dict.fromkeys(("status", *_FIGURES[2:], "reason", "against", "gate", "run_id"))
    try:
        told = json.loads(result.read_text(encoding="utf-8"))
        arms, compared = told["arms"], formatting.spoken(told)
    except (OSError, ValueError, KeyError, TypeError):
        return empty | {"reason": reason}
    metric = next(iter(arms["candidate"]["metrics"]), None)
    medians = {arm: (each["metrics"].get(metric) or {}).get("median") for arm, each in arms.items()}
    ratio = (compared.get(metric) if metric else None) or {}
    low, high = ratio.get("ci95") or (None, None)
    gate = told.get("gate") or {}
    unmet = gate.get("reason") if gate.get("status") != "passed" else None
    failures = [each["failure"]["message"] for each in arms.values() if each.get("failure")]
    return {
        **empty,
        **{key: told.get(key) for key in ("status", "verdict", "run_id")},
        "metric": metric,
        **medians,
        "ratio": ratio.get("ratio"),
        "low": low,
        "high": high,
        "agreement": (told.get("agreement") or {}).get("status"),
        "against": arms.get("baseline", {}).get("choices"),
        "gate": gate.get("status"),
        "reason": reason or "; ".join(failures) or unmet or told.get("verdict_reason"),
    }


def _interval(row: Mapping[str, Any]) -> list[float] | None:
    return None if row["low"] is None else [row["low"], row["high"]]


def _cell(value: float | None) -> str:
    return "-" if value is None else formatting.number(value, digits=4)
