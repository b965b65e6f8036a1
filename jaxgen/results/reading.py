"""The one reader of what runs and sweeps leave on disk: result.json, trials.csv and sweep.json.

A file that cannot be used raises `Unreadable`, whose text is one clause; whoever reads says whose
file it was and what to do about it.
"""

import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.results import damage
from jaxgen.results.schema import Result, trials, version_problem


class Unreadable(Exception):
    """Why a file cannot be used."""


# A class of its own, as a resumed sweep says which version it found.
class OtherVersion(Unreadable):
    """A result of another version, or none of jaxgen.

    Attributes:
        version: what it says of itself; null where it is no result at all.
    """

    def __init__(self, problem: str, version: Any):
        super().__init__(problem)
        self.version = version


@dataclasses.dataclass(frozen=True)
class Trial:
    """One row of trials.csv; a metric that was not measured is None."""

    case: int
    process: int
    block: int
    pair: int
    arm: str
    metrics: Mapping[str, float | None]
    compile_events: int
    void: bool


def read_result(path: Path) -> Result:
    """Read a result.json of any status, as it was written.

    Raises:
        Unreadable: it is not there, no JSON, or of another version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Unreadable(f"there is no {path.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"its {path.name} cannot be read: {error}") from error
    return parse_result(text)


def parse_result(text: str) -> Result:
    """Read the text of a result.json, as `read_result` does its file."""
    try:
        # Python itself would read NaN and Infinity, which are no JSON.
        result = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"broken JSON in {place}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        # A file of nothing but brackets exhausts the recursion of the parser.
        raise Unreadable(f"broken JSON: {error}") from error
    # Before anything else is read: another version may mean something else by the same keys.
    problem = version_problem(result)
    if problem is not None:
        version = result.get("schema_version") if isinstance(result, dict) else None
        raise OtherVersion(problem, version)
    return result


def read_finished_result(path: Path) -> Result:
    """Read a result.json that can be shown: its run has ended, and all its sections are sound.

    Returns:
        The result, with empty sections where the file has none.

    Raises:
        Unreadable: as for `read_result`, or its run has not ended, or it is damaged.
    """
    result = read_result(path)
    # A run that was killed says `running` for ever.
    status = result.get("status")
    if status == "running":
        raise Unreadable("its run is still running, or was killed")
    if status not in ("completed", "failed"):
        raise Unreadable(f"its status is {status}, which is neither completed nor failed")
    try:
        return damage.checked(result)
    except damage.Damage as problem:
        raise Unreadable(f"damaged: {problem}") from problem


def read_trial_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a trials.csv as text; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_trials(path: Path) -> list[Trial]:
    """Read the trials of a trials.csv.

    Raises:
        Unreadable: it is not there, damaged or empty.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [_trial(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise Unreadable(f"there is no {path.name}") from None
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        reason = f"{path.name} is damaged ({type(error).__name__}: {error})"
        raise Unreadable(reason) from error
    if not rows:
        raise Unreadable(f"{path.name} has no trials")
    return rows


def read_points(path: Path) -> list[dict[str, Any]]:
    """Read the points of a sweep.json; none where there is no such file or it is damaged."""
    try:
        # The record of a sweep is an aid: damaged, it must not hide the runs beside it.
        points = json.loads(path.read_text(encoding="utf-8"))["points"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if not isinstance(points, list):
        return []
    return points


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _trial(row: Mapping[str, str]) -> Trial:
    metrics: dict[str, float | None] = {}
    for name, cell in row.items():
        # All other columns are metrics, which every workload names for itself.
        if name not in (*trials.POSITION, *trials.EVENTS, *trials.SURROUNDINGS):
            metrics[name] = float(cell) if cell else None
    return Trial(
        case=int(row.get("case", 0)),  # older files of this version have no cases
        process=int(row["process"]),
        block=int(row["block"]),
        pair=int(row["pair"]),
        arm=row["arm"],
        metrics=metrics,
        compile_events=int(row["compile_events"]),
        # The `csv` module writes a truth value as Python prints it.
        void=row["void"] == "True",
    )
