"""The rows of a sweep's record: one for each point, made from its result, as JSON and as CSV."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.config.typed import split
from jaxgen.results import formatting, means
from jaxgen.results.files import RESULT, save
from jaxgen.results.reading import Unreadable, read_points, read_result

Row = dict[str, Any]

POINTS = ".points"
"""The folder of rows that wait to be gathered."""

FIGURES = (
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
"""The columns of sweep.csv between the overrides and the reason."""

_ALSO = ("against", "gate", "run_id")
_FROM_RESULT = ("status", *FIGURES[2:], "reason", *_ALSO)
"""What a row has from a result; the exit code is the job's."""


@dataclasses.dataclass(frozen=True)
class PointEnd:
    """How a point of a sweep ended.

    Attributes:
        code: its exit code.
        reason: why there is no result; null takes the result's own words.
        from_before: the result is of an earlier sweep.
    """

    code: int
    reason: str | None = None
    from_before: bool = False


def measured_row(overrides: Sequence[str], folder: Path, end: PointEnd, *, number: int) -> Row:
    """Make the row of a point that has ended.

    Args:
        overrides: of the job, as typed.
        folder: of the run; it need not be there any more.
        end: how it ended.
        number: of the point in its sweep.

    Returns:
        The row as `Sweep.rows` has it.
    """
    return {
        "number": number,
        "overrides": dict(map(split, overrides)),
        "folder": folder.name,
        "exit_code": int(end.code),
        **_figures(folder / RESULT, end.reason),
        "kept": end.from_before,
    }


def planned_row(
    overrides: Sequence[str], folder: Path, reason: str, *, number: int, code: int
) -> Row:
    """Make the row of a point of a dry run; `reason` says what would become of it."""
    return {
        "number": number,
        "overrides": dict(map(split, overrides)),
        "folder": folder.name,
        # Every column is there, so that the table needs no case for a point without a result.
        **dict.fromkeys((*FIGURES, *_ALSO)),
        "exit_code": int(code),
        "reason": reason,
        "planned": True,
    }


def write_row(row: Mapping[str, Any], folder: Path) -> None:
    """Leave one row in the sweep's folder, for the process that gathers them."""
    waiting = folder / POINTS
    waiting.mkdir(parents=True, exist_ok=True)
    # One file for each point: the processes of a launcher write at the same time.
    path = waiting / f"{row['number']}.json"
    save(path, rows_as_json([row]))


def read_rows(path: Path) -> list[Row]:
    """Read the points of a sweep; none where there are none, or the file is damaged."""
    columns = {"number", "overrides", "folder", "reason", *FIGURES}
    rows = read_points(path)
    try:
        # A record of an earlier jaxgen may lack columns that the table needs.
        is_complete = all(columns <= set(row) for row in rows)
    except TypeError:  # a row is no table
        return []
    return rows if is_complete else []


def rows_as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the rows as the text of sweep.json."""
    return json.dumps({"points": rows}, indent=2, allow_nan=False) + "\n"


def rows_as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the rows as the text of sweep.csv: a column for each key that a point overrides."""
    keys = override_keys(rows)
    columns = [*FIGURES, "reason", "folder"]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", *keys, *columns])
    for row in rows:
        # A key may be overridden at some points only: the others have an empty cell.
        cells = [row["number"]]
        for key in keys:
            cells.append(row["overrides"].get(key, ""))
        for name in columns:
            value = row[name]
            cells.append("" if value is None else value)
        writer.writerow(cells)
    return text.getvalue()


def override_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return every key that some point overrides, each once, in the order of the points."""
    keys: dict[str, None] = {}  # a dictionary keeps the order, which a set does not
    for row in rows:
        keys |= dict.fromkeys(row["overrides"])
    return list(keys)


def _figures(path: Path, reason: str | None) -> Row:
    """Take a point's figures from its result; nulls where there is none that can be read."""
    empty: Row = dict.fromkeys(_FROM_RESULT)
    try:
        result = read_result(path)
        arms, comparison = result["arms"], formatting.spoken(result)
    except (Unreadable, KeyError, TypeError):
        return empty | {"reason": reason}
    # The first metric is the one that the verdict is about. A grid has none: its cases do.
    metric = next(iter(arms["candidate"]["metrics"]), None)
    compared = (comparison.get(metric) if metric else None) or {}
    low, high = compared.get("ci95") or (None, None)
    gate = result.get("gate") or {}
    agreement = result.get("agreement") or {}
    baseline = arms.get("baseline", {})
    return {
        **empty,
        "status": result.get("status"),
        "verdict": result.get("verdict"),
        "metric": metric,
        **_means(arms, metric),
        "ratio": compared.get("ratio"),
        "low": low,
        "high": high,
        "agreement": agreement.get("status"),
        "reason": reason or _reason_of(result),
        "against": baseline.get("choices"),
        "gate": gate.get("status"),
        "run_id": result.get("run_id"),
    }


def _means(arms: Mapping[str, Any], metric: str | None) -> dict[str, float | None]:
    by_arm = {}
    for name, arm in arms.items():
        summary = arm["metrics"].get(metric) or {}
        by_arm[name] = means.mean_of(summary)
    return by_arm


def _reason_of(result: Mapping[str, Any]) -> str | None:
    """Return the worst that a result says of itself: a failed arm, then its gate, its verdict."""
    failures = []
    for arm in result["arms"].values():
        if arm.get("failure"):
            failures.append(arm["failure"]["message"])
    if failures:
        return "; ".join(failures)
    gate = result.get("gate") or {}
    if gate.get("status") != "passed" and gate.get("reason"):
        return gate["reason"]
    return result.get("verdict_reason")
