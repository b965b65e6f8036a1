"""Which runs a report is of: from the paths that a user gives to results that can be shown.

What cannot be shown is named with its reason.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.results.files import RESULT, SWEEP, TRIALS
from jaxgen.results.reading import (
    Trial,
    Unreadable,
    read_finished_result,
    read_points,
    read_trials,
)
from jaxgen.results.schema import Result

_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A run that ended.

    Attributes:
        name: what tells it from the others of a report, such as its number in a sweep.
        trials: empty where `no_trials` says why.
    """

    folder: Path
    name: str
    result: Result
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
        home: the folder that the report is written to unless another is given.
    """

    home: Path
    runs: tuple[StoredRun, ...]
    unread: tuple[Unread, ...]


def collect(paths: Sequence[str | Path]) -> Collection:
    """Read runs, sweeps and result files.

    Args:
        paths: run folders, folders of runs (a sweep's, with numbered subfolders) or result.json
            files.

    Returns:
        All runs in the order given. A folder's damaged or unfinished runs are in `unread`.

    Raises:
        UserError: a path is neither of these, a run that was named itself cannot be shown, or none
            is left to show.
    """
    given = list(dict.fromkeys(_folder(Path(path)) for path in paths))
    root, home = _root_and_home(given)
    runs, unread = _read_all(given, root)
    # What a user names must be shown; a damaged point of a sweep must not hide all the others.
    refused = []
    for run in unread:
        if run.folder in given:
            refused.append(run)
    if refused or not runs:
        raise UserError.collected("nothing to report", _listed(refused or unread))
    # Read last: by themselves they are nothing that could be shown.
    for folder in given:
        unread += _points_without_folder(folder)
    return Collection(home, tuple(runs), tuple(unread))


def _read_all(given: Sequence[Path], root: Path) -> tuple[list[StoredRun], list[Unread]]:
    """Read every run in or right below the given folders; their names are relative to `root`."""
    # A run that is given twice, by itself and with its sweep, is one run.
    folders: dict[Path, None] = {}
    for folder in given:
        folders |= dict.fromkeys(_run_folders(folder))
    runs, unread = [], []
    for folder in folders:
        run = load(folder, name=_name(folder, root))
        if isinstance(run, StoredRun):
            runs.append(run)
        else:
            unread.append(run)
    return runs, unread


def load(folder: Path, *, name: str) -> StoredRun | Unread:
    """Read one run folder."""
    try:
        result = read_finished_result(folder / RESULT)
    except Unreadable as problem:
        return Unread(folder, name, str(problem))
    try:
        trials = tuple(read_trials(folder / TRIALS))
    # Without its trials a run can still be shown: its figures stand in result.json.
    except Unreadable as problem:
        return StoredRun(folder, name, result, (), str(problem))
    return StoredRun(folder, name, result, trials, None)


def _folder(path: Path) -> Path:
    """Return the folder that a path means."""
    if not path.exists():
        raise UserError(
            f"{path} does not exist (relative paths start at {Path.cwd()}); give a run folder"
        )
    if path.is_dir():
        # Resolved, so that a run which is named in two ways is one run.
        return path.resolve()
    if path.name != RESULT:
        raise UserError(
            f"{path} is no run folder, no folder of runs and no {RESULT}; give one of them"
        )
    return path.resolve().parent


def _root_and_home(folders: Sequence[Path]) -> tuple[Path, Path]:
    """Return the folder that runs are named from, and the one that a report goes to."""
    if len(folders) == 1:
        return folders[0], folders[0]
    # From the parents, so that runs/a and runs/b are named `a` and `b`.
    root = Path(os.path.commonpath([folder.parent for folder in folders]))
    # Beside the runs and in none of them: the report belongs to all.
    return root, root / "report"


def _run_folders(folder: Path) -> list[Path]:
    """Return the folder itself if it is a run's, else the run folders and numbers right below."""
    if (folder / RESULT).exists():
        return [folder]
    try:
        below = [path for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}); give a run folder that can"
        ) from error
    # A number without a result is a point of a sweep that failed early: it is named, not skipped.
    numbered = [path for path in below if path.name.isdigit()]
    named = [path for path in below if not path.name.isdigit() and (path / RESULT).exists()]
    if not numbered and not named:
        raise UserError(
            f"{folder} holds no run: neither it nor a folder right below has a {RESULT}; "
            "give a run folder"
        )
    # As numbers: as texts, point 10 would come before point 2.
    return [*sorted(numbered, key=lambda path: int(path.name)), *sorted(named)]


def _points_without_folder(folder: Path) -> list[Unread]:
    """Name the points of a sweep that left no folder, such as combinations that cannot be."""
    missing = []
    for point in read_points(folder / SWEEP):
        try:
            name, overrides, reason = str(point["folder"]), point["overrides"], point["reason"]
        except (KeyError, TypeError):
            return []  # the record is damaged
        if not (folder / name).exists():
            missing.append(Unread(folder / name, name, _why_missing(overrides, reason)))
    return missing


def _why_missing(overrides: Mapping[str, str], reason: str | None) -> str:
    settings = " ".join(f"{key}={value}" for key, value in overrides.items())
    return f"{settings}: {reason or 'it left no result'}"


def _listed(unread: Sequence[Unread]) -> list[str]:
    """Name the first few folders with their reasons, and count the others."""
    listed = [f"{run.folder}: {run.reason}" for run in unread[:_MOST_NAMED]]
    if len(unread) > _MOST_NAMED:
        listed.append(f"and {len(unread) - _MOST_NAMED} more")
    return listed


def _name(folder: Path, root: Path) -> str:
    if folder == root:
        return folder.name
    return folder.relative_to(root).as_posix()
