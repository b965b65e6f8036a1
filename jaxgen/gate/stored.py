"""What an earlier run measured, read back from its result.json or from a CSV of scores, for a gate to compare with.

Everything is checked before anything is measured: a file that a gate cannot use is the user's error at the start.
"""

import csv
import dataclasses
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxgen.errors import UserError
from jaxgen.results.files import RESULT
from jaxgen.results.reading import Unreadable, parse_result
from jaxgen.results.schema import Result, trials

CSV_COLUMNS = (
    *("batch_size", "num_labels", "num_runs", "total_items", "throughput_items_per_sec"),
    *("latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_mean_ms", "latency_std_ms"),
)
"""How a CSV of scores begins; columns of the environment may follow, named as `environment_facts` names them."""

_CASE, _COUNTS, _NEEDED = CSV_COLUMNS[:2], CSV_COLUMNS[:4], CSV_COLUMNS[:5]
_FACTS = ("platform", "device_kind", "device_count", "cpu", "cores", "xla_flags")
_PACKAGES = ("jax", "jaxlib")


@dataclasses.dataclass(frozen=True)
class Measured:
    """One metric of one arm in one case.

    Attributes:
        params: the case's parameters; empty for a run without cases.
        value: the median in `unit` (a CSV's throughput is a mean); None where nothing positive was measured.
        n: how many samples it is made of.
        spread: relative standard deviation of one sample (0.02 = 2 %); None below two samples.
    """

    params: Mapping[str, Any]
    metric: str
    unit: str
    better: Literal["higher", "lower"]
    value: float | None
    n: int
    spread: float | None

    @property
    def key(self) -> tuple[str, str]:
        """What rows of two results are matched by: the case in words, and the metric."""
        return " ".join(
            f"{name}={value}" for name, value in sorted(self.params.items())
        ), self.metric


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a gate compares with. `result` is the whole result.json, None for a CSV."""

    path: str
    rows: list[Measured]
    environment: dict[str, str]
    result: Result | None = None


def read(path: str) -> Stored:
    """Reads what an earlier run left behind.

    Args:
        path: a run folder, its result.json, or a CSV of scores that begins with `CSV_COLUMNS`.

    Raises:
        UserError: there is no such file, or it is neither of the two, damaged, of another version or not of a
            finished run.
    """
    place = Path(path)
    place = place / RESULT if place.is_dir() else place
    try:
        text = place.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _refusal(
            path, f"{place} does not exist (relative paths start at {Path.cwd()})"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(path, f"{place} cannot be read: {error}") from error
    is_json = place.suffix == ".json" or (place.suffix != ".csv" and text.lstrip().startswith("{"))
    try:
        return _of_json(path, text) if is_json else _of_csv(path, text)
    except csv.Error as error:
        raise _refusal(path, f"broken CSV: {error}") from error


def rows_of(result: Mapping[str, Any], arm: str = "candidate") -> list[Measured]:
    """Every metric of one arm, for each case, or for the run where it has no cases."""
    cases = result.get("cases") or [{"params": {}, "arms": result["arms"]}]
    return [
        _of_metric(case["params"], name, metric)
        for case in cases
        for name, metric in case["arms"].get(arm, {}).get("metrics", {}).items()
    ]


def environment_facts(environment: Mapping[str, Any] | None) -> dict[str, str]:
    """What of a result's `environment` makes two measurements comparable, by name; what is unknown is left out."""
    known = environment or {}
    packages = known.get("packages") or {}
    facts = {name: known.get(name) for name in _FACTS} | {
        name: packages.get(name) for name in _PACKAGES
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _refusal(path: str, problem: str) -> UserError:
    return UserError(f"gate.against={path} is nothing to compare with: {problem}")


def _of_json(path: str, text: str) -> Stored:
    try:
        result = parse_result(text)
    except Unreadable as problem:
        raise _refusal(path, str(problem)) from problem
    status = result.get("status")
    if status != "completed":
        told = "still running, or was killed" if status == "running" else f"of status {status}"
        raise _refusal(path, f"its run is {told}; give one of status completed")
    try:
        rows = rows_of(result)
        environment = environment_facts(result.get("environment"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _refusal(
            path, f"its arms, cases or environment are damaged ({type(error).__name__}: {error})"
        ) from error
    return Stored(path, rows, environment, result)


def _of_metric(params: Mapping[str, Any], name: str, metric: Mapping[str, Any]) -> Measured:
    if metric["better"] not in ("higher", "lower"):
        raise ValueError(f"{name} is better when {metric['better']}")
    samples = [sample for sample in metric["samples"] if sample is not None and sample > 0]
    logs = [math.log(sample) for sample in samples]
    return Measured(
        params=dict(params),
        metric=name,
        unit=metric["unit"],
        better=metric["better"],
        value=_positive(metric["median"]),
        n=len(samples),
        spread=statistics.stdev(logs) if len(logs) > 1 else None,
    )


def _of_csv(path: str, text: str) -> Stored:
    lines = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(lines, [])]
    if trials.is_header(header):
        raise _refusal(path, "it is the trials.csv of a run; give the result.json beside it")
    if tuple(header[: len(CSV_COLUMNS)]) != CSV_COLUMNS:
        seen = ",".join(header[: len(CSV_COLUMNS)])[:200]
        raise _refusal(
            path,
            f"a CSV must begin with the columns {','.join(CSV_COLUMNS)}, and it has {seen or 'none'}",
        )
    rows: dict[tuple[str, str], Measured] = {}
    problems, environment = [], {}
    for values in lines:
        if not any(value.strip() for value in values):
            continue
        row = dict(zip(header, (value.strip() for value in values), strict=False))
        found = _problems(values, header, row=row) or _add(rows, row)
        problems += [f"line {lines.line_num}: {problem}" for problem in found]
        environment = environment or {
            key: row.get(key, "") for key in (*_FACTS, *_PACKAGES) if row.get(key)
        }
    if problems:
        shown = problems[:5] + ([f"and {len(problems) - 5} more"] if len(problems) > 5 else [])
        raise UserError.collected(f"gate.against={path} is nothing to compare with", shown)
    return Stored(path, list(rows.values()), environment)


def _problems(values: Sequence[str], header: Sequence[str], *, row: Mapping[str, str]) -> list[str]:
    """What is wrong with a row of a CSV by itself."""
    if len(values) != len(header):
        return [f"{len(values)} values for {len(header)} columns"]
    told = []
    for column in CSV_COLUMNS:
        value, is_count = _number(row[column]), column in _COUNTS
        if row[column] == "" and column not in _NEEDED:  # unknown, as p99 is below 100 runs
            continue
        least_ok = value is not None and (value >= 0 if column == "latency_std_ms" else value > 0)
        if not least_ok or (is_count and value != int(value or 0)):
            told.append(
                f"{column}={row[column] or 'nothing'} is no positive {'count' if is_count else 'number'}"
            )
    return told


def _add(rows: dict[tuple[str, str], Measured], row: Mapping[str, str]) -> list[str]:
    """Keep a sound row under its keys; a case that stands there already is a problem."""
    number = {column: _number(row[column]) for column in CSV_COLUMNS}
    n = int(number["num_runs"] or 0)
    mean, std = number["latency_mean_ms"], number["latency_std_ms"]
    spread = std / mean if n > 1 and mean and std is not None else None
    params = {name: int(number[name] or 0) for name in _CASE}
    p50 = number["latency_p50_ms"]
    found = (
        Measured(
            params,
            "items_per_s",
            "items/s",
            "higher",
            number["throughput_items_per_sec"],
            n,
            spread,
        ),
        Measured(params, "latency_s", "s", "lower", None if p50 is None else p50 / 1000, n, spread),
    )
    if found[0].key in rows:
        return [f"a second row of {found[0].key[0]}"]
    rows.update({measured.key: measured for measured in found})
    return []


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None
