"""What runs left on disk, read back and checked: the first step of every report and of the list of runs.

This is the one place that decides which results can be shown. What cannot be is named with its reason.
"""

import csv
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.gate.stored import version_problem
from jaxgen.results.files import RESULT, SWEEP, TRIALS
from jaxgen.results.schema import Damage, checked

_PLACE = ("case", "process", "block", "pair", "position", "arm")
_WATCHED = ("compile_events", "void", "repeats")
_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Trial:
    """One row of trials.csv; a metric that was not had is None."""

    case: int
    process: int
    block: int
    pair: int
    arm: str
    metrics: Mapping[str, float | None]
    compile_events: int
    void: bool


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A run that ended.

    Attributes:
        name: what tells it from the others of a report, such as its number in a sweep.
        trials: empty where `no_trials` says why.
    """

    folder: Path
    name: str
    result: Mapping[str, Any]
    trials: tuple[Trial, ...]
    no_trials: str | None


@dataclasses.dataclass(frozen=True)
class Unread:
    """A folder whose result cannot be shown, and why."""

    folder: Path
    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Collection:
    """What a report is of.

    Attributes:
        home: the folder that the report is written to unless another is asked for.
        sweeps: whether a folder of several runs was given.
    """

    home: Path
    runs: tuple[StoredRun, ...]
    unread: tuple[Unread, ...]
    sweeps: bool


def collect(paths: Sequence[str | Path]) -> Collection:
    """Reads runs, sweeps and result files.

    Args:
        paths: run folders, folders of runs (a sweep's, with numbered subfolders) or result.json files.

    Returns:
        All runs in the order given. A folder's damaged or unfinished runs are in `unread`.

    Raises:
        UserError: a path is neither of these, a run that was named itself cannot be shown, or none is left to show.
    """
    places = list(dict.fromkeys(_place(Path(path)) for path in paths))
    found = {place: _runs_below(place) for place in places}
    alone = len(places) == 1
    root = Path(os.path.commonpath([place if alone else place.parent for place in places]))
    read = {
        folder: load(folder, name=_name(folder, root))
        for folders in found.values()
        for folder in folders  # a run that is given twice is one run
    }
    refused = [each for each in read.values() if isinstance(each, Unread) and each.folder in found]
    runs = tuple(each for each in read.values() if isinstance(each, StoredRun))
    if refused or not runs:
        named = refused or [each for each in read.values() if isinstance(each, Unread)]
        told = [f"{each.folder}: {each.reason}" for each in named[:_MOST_NAMED]]
        told += [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
        raise UserError.collected("nothing to report", told)
    unread = tuple(each for each in read.values() if isinstance(each, Unread))
    unread += tuple(each for place in places for each in _never_run(place))
    sweeps = any(folders != [place] for place, folders in found.items())
    return Collection(root if alone else root / "report", runs, unread, sweeps)


def load(folder: Path, *, name: str) -> StoredRun | Unread:
    """One run folder."""
    result = read_result(folder / RESULT)
    if isinstance(result, str):
        return Unread(folder, name, result)
    trials, problem = _trials(folder / TRIALS)
    return StoredRun(folder, name, result, trials, problem)


def read_result(path: Path) -> dict[str, Any] | str:
    """The contents of a result.json; or one clause that says why it cannot be shown."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        return f"there is no {path.name}"
    except (OSError, UnicodeDecodeError) as error:
        return f"its {path.name} cannot be read: {error}"
    except json.JSONDecodeError as error:
        return f"broken JSON in line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        return f"broken JSON: {error}"
    problem = version_problem(result)
    if problem is not None:
        return problem
    if result.get("status") == "running":
        return "its run is still running, or was killed"
    if result.get("status") not in ("completed", "failed"):
        return f"its status is {result.get('status')}, which is neither completed nor failed"
    try:
        return checked(result)
    except Damage as damage:
        return f"damaged: {damage}"


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _trials(path: Path) -> tuple[tuple[Trial, ...], str | None]:
    """The rows of a trials.csv; or none, and why."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = tuple(_trial(row) for row in csv.DictReader(file))
    except FileNotFoundError:
        return (), f"there is no {path.name}"
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        return (), f"{path.name} is damaged ({type(error).__name__}: {error})"
    return rows, None if rows else f"{path.name} has no trials"


def _trial(row: Mapping[str, str]) -> Trial:
    metrics = {
        key: float(value) if value else None
        for key, value in row.items()
        if key not in _PLACE + _WATCHED
    }
    place = {key: int(row[key]) for key in ("process", "block", "pair")}
    return Trial(
        case=int(row.get("case", 0)),  # older files of this version have no cases
        arm=row["arm"],
        metrics=metrics,
        compile_events=int(row["compile_events"]),
        void=row["void"] == "True",
        **place,
    )


def _place(path: Path) -> Path:
    """The folder that a path means."""
    if not path.exists():
        raise UserError(
            f"{path} does not exist (relative paths start at {Path.cwd()}); give a run folder"
        )
    if path.is_dir():
        return path.resolve()
    if path.name != RESULT:
        raise UserError(
            f"{path} is no run folder, no folder of runs and no {RESULT}; give one of them"
        )
    return path.resolve().parent


def _runs_below(place: Path) -> list[Path]:
    """The folder itself, if it is a run's; else the run folders right below it, and all that are numbered."""
    if (place / RESULT).exists():
        return [place]
    try:
        below = [each for each in place.iterdir() if each.is_dir()]
    except OSError as error:
        raise UserError(
            f"{place} cannot be read ({error.strerror}); give a run folder that can"
        ) from error
    runs = [each for each in below if each.name.isdigit() or (each / RESULT).exists()]
    if not runs:
        raise UserError(
            f"{place} holds no run: neither it nor a folder right below has a {RESULT}; give a run folder"
        )
    return sorted(
        runs,
        key=lambda each: (not each.name.isdigit(), int(each.name) if each.name.isdigit() else each),
    )


def _never_run(place: Path) -> Iterator[Unread]:
    """Points of a sweep that left no folder behind, such as combinations that cannot be."""
    try:
        points = json.loads((place / SWEEP).read_text(encoding="utf-8"))["points"]
        told = [(str(each["folder"]), each["overrides"], each["reason"]) for each in points]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name, overrides, reason in told:
        if not (place / name).exists():
            said = " ".join(f"{key}={value}" for key, value in overrides.items())
            yield Unread(place / name, name, f"{said}: {reason or 'it left no result'}")


def _name(folder: Path, root: Path) -> str:
    return folder.name if folder == root else folder.relative_to(root).as_posix()
