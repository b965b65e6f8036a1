"""scores.csv: one row for each case of a scoring grid, written here and read back for a gate."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen.gate.measured import ENVIRONMENT_KEYS, PACKAGES, Measured, environment_facts
from jaxgen.results.schema import Metric, Result

CASE_COLUMNS = ("batch_size", "num_labels")
COUNT_COLUMNS = (*CASE_COLUMNS, "num_runs", "total_items")
NEEDED_COLUMNS = (*COUNT_COLUMNS, "throughput_items_per_sec")
COLUMNS = (
    *NEEDED_COLUMNS,
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "latency_mean_ms",
    "latency_std_ms",
)
"""How a CSV of scores begins; columns of the environment may follow, by `environment_facts`."""


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """What a CSV of scores says.

    Attributes:
        rows: two for each case: its throughput and its latency.
        environment: facts by name, of the first row that has any.
        problems: of its lines, each with the line's number.
    """

    rows: list[Measured]
    environment: dict[str, str]
    problems: list[str]


def score_table(result: Result) -> str:
    """Return the candidate's figures as CSV; what is unknown (p99 below 100 calls) is left empty.

    Args:
        result: with cases of `batch_size` and `num_labels`, each measured.

    Example:
        batch_size,num_labels,num_runs,total_items,throughput_items_per_sec,latency_p50_ms,...,cpu
        4,2,20,80,1532.1,2.6,...,EPYC
    """
    facts = environment_facts(result["environment"])
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=[*COLUMNS, *facts], lineterminator="\n")
    writer.writeheader()
    for case in result["cases"]:
        calls = case["arms"]["candidate"].get("calls")
        if calls and calls["n"]:
            writer.writerow(_cells(case["params"], calls) | facts)
    return text.getvalue()


def is_header(names: Sequence[str]) -> bool:
    """Tell whether a CSV with these column names is one of scores."""
    return tuple(names[: len(COLUMNS)]) == COLUMNS


def read_table(header: Sequence[str], lines: Any) -> ScoreTable:
    """Read the lines behind the header.

    Args:
        header: the names of all columns.
        lines: a `csv.reader` behind the header.
    """
    rows: dict[tuple[str, str], Measured] = {}
    problems: list[str] = []
    environment: dict[str, str] = {}
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue  # a spreadsheet leaves empty lines
        stripped = [cell.strip() for cell in cells]
        row = dict(zip(header, stripped, strict=False))
        # All lines are read before anything is refused: a user mends a file once, not line by line.
        found = _problems(cells, header, row=row)
        if not found:
            throughput, latency = _measured(row)
            # Which of two rows of one case counts nobody can know, and the last would win in
            # silence.
            if throughput.key in rows:
                found = [f"a second row of {throughput.key[0]}"]
            else:
                rows[throughput.key] = throughput
                rows[latency.key] = latency
        problems += [f"line {lines.line_num}: {problem}" for problem in found]
        environment = environment or _environment(row)
    return ScoreTable(list(rows.values()), environment, problems)


def _cells(params: Mapping[str, int], calls: Metric) -> dict[str, Any]:
    mean_s = calls["mean"]
    cells: dict[str, Any] = {}
    for name in CASE_COLUMNS:
        cells[name] = params[name]
    # A run is one call with the whole batch, so that 20 runs of 4 items are 80 items.
    cells["num_runs"] = calls["n"]
    cells["total_items"] = params["batch_size"] * calls["n"]
    cells["throughput_items_per_sec"] = params["batch_size"] / mean_s if mean_s else ""
    for statistic in ("p50", "p95", "p99", "mean", "std"):
        seconds = calls[statistic]
        cell = ""  # not known, as p99 is below 100 calls
        if seconds is not None:
            cell = 1e3 * seconds
        cells[f"latency_{statistic}_ms"] = cell
    return cells


def _environment(row: Mapping[str, str]) -> dict[str, str]:
    names = (*ENVIRONMENT_KEYS, *PACKAGES)
    return {name: row[name] for name in names if row.get(name)}


def _problems(cells: Sequence[str], header: Sequence[str], *, row: Mapping[str, str]) -> list[str]:
    """Return what is wrong with one line by itself."""
    if len(cells) != len(header):
        return [f"{len(cells)} values for {len(header)} columns"]
    problems = []
    for column in COLUMNS:
        if row[column] == "" and column not in NEEDED_COLUMNS:
            continue  # unknown, as p99 is below 100 runs
        kind = "count" if column in COUNT_COLUMNS else "number"
        if not _is_sound(column, _number(row[column])):
            cell = row[column] or "nothing"
            problems.append(f"{column}={cell} is no positive {kind}")
    return problems


def _is_sound(column: str, value: float | None) -> bool:
    if value is None:
        return False
    if column == "latency_std_ms":
        return value >= 0
    if column in COUNT_COLUMNS and value != int(value):
        return False
    return value > 0


def _measured(row: Mapping[str, str]) -> tuple[Measured, Measured]:
    """Return the throughput and the latency of a sound line."""
    n = int(_number(row["num_runs"]) or 0)
    mean_ms = _number(row["latency_mean_ms"])
    std_ms = _number(row["latency_std_ms"])
    p50_ms = _number(row["latency_p50_ms"])
    spread = None
    # The file has no samples: of their logarithms' deviation, std / mean is the first
    # approximation.
    if n > 1 and mean_ms and std_ms is not None:
        spread = std_ms / mean_ms
    params = {}
    for name in CASE_COLUMNS:
        params[name] = int(_number(row[name]) or 0)
    throughput = Measured(
        params=params,
        metric="items_per_s",
        unit="items/s",
        better="higher",
        value=_number(row["throughput_items_per_sec"]),
        n=n,
        spread=spread,
    )
    # The median for latency, as everywhere; a throughput is of the mean, which is what the file
    # has.
    latency = dataclasses.replace(
        throughput,
        metric="latency_s",
        unit="s",
        better="lower",
        value=None if p50_ms is None else p50_ms / 1000,
    )
    return throughput, latency


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
