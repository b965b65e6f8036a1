"""How far a fresh start alone moves the ratio of two equal arms: the outermost part of the noise.

Two processes that run the same program differ by a little that stays the same for as long as they
live, and no number of blocks inside them averages it out. What it comes to is measured once, by
calibration, on pairs of processes that hold equal arms and take turns in starting first. It stands
in one JSON file per user, by machine, workload and model.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import platformdirs

from jaxgen.errors import UserError
from jaxgen.results.files import write_atomically

FILE = "start_spread.json"
OLD_FILE = "noise_floor.json"
"""What versions before this one have kept: the margin of a verdict, which is the user's own now."""


@dataclasses.dataclass(frozen=True)
class StartSpread:
    """The standard deviation of the log ratio from one pair of processes to the next.

    Attributes:
        deviation: of the means of the pairs about their mean, as a share (0.0072 = 0.72 %). What
            favours the arm that starts first is in it too, as the starts alternate.
        freedom: degrees of freedom of the estimate: the pairs of processes less one.
        source: where it comes from, in words, such as "this machine's calibration".
    """

    deviation: float
    freedom: int
    source: str


SHIPPED = StartSpread(0.0072, 13, "the value that comes with jaxgen, measured on another machine")
"""Of 14 pairs of processes with equal arms, embedded model, on two cores of an AMD EPYC: the root
mean square of their mean log ratios about 0, so that the bias of the first start is in it."""


class Entry(TypedDict):
    """One start spread, and how it was measured."""

    deviation: float
    freedom: int
    measured_at: str
    conditions: dict[str, Any]
    plan: dict[str, Any]


def key_of(conditions: Mapping[str, Any]) -> str:
    """Name what a start spread belongs to: it holds for nothing that differs in one of these.

    Args:
        conditions: such as the device, the processor, the model and the version of jax.

    Example:
        >>> key_of({"device": "cpu", "cores": 2, "model": "tiny"})
        'cpu | 2 | tiny'
    """
    return " | ".join(str(value) for value in conditions.values())


def spread_of(log_ratios: Sequence[float]) -> tuple[float, int]:
    """Return the standard deviation of the pairs' mean log ratios, and its degrees of freedom.

    It is the plain one, about the mean and over n - 1. What each mean is not known to is in it too,
    so that it errs on the safe side.

    Args:
        log_ratios: the mean log ratio of equal arms in each pair of processes; two or more.
    """
    if len(log_ratios) < 2 or not all(map(math.isfinite, log_ratios)):
        raise ValueError(f"a start spread needs two or more finite log ratios: {list(log_ratios)}")
    deviation = float(np.std(log_ratios, ddof=1))
    freedom = len(log_ratios) - 1
    return deviation, freedom


def find(key: str, folder: Path | None = None) -> StartSpread:
    """Return the start spread that was calibrated under a key, else the one that is shipped.

    Args:
        key: as `key_of` gives it.
        folder: of the file; null is the user's data directory.

    Raises:
        UserError: the file cannot be read.
    """
    entry = _read(_path(folder)).get(key)
    if entry is None:
        return SHIPPED
    when = entry.get("measured_at", "an unknown day")
    source = f"this machine's calibration of {when}"
    deviation, freedom = entry["deviation"], entry["freedom"]
    return StartSpread(deviation, freedom, source)


def save(key: str, entry: Entry, folder: Path | None = None) -> Path:
    """Store one start spread beside the others, in place of an earlier one of the same key.

    Two calibrations may end at the same moment: each waits for the other, and neither is lost.

    Args:
        key: as `key_of` gives it.
        entry: what was measured, and how.
        folder: of the file; null is the user's data directory.

    Returns:
        The file.

    Raises:
        UserError: the file cannot be written, or what stands in it cannot be read.
    """
    path = _path(folder)
    # Checked before it is written: a broken entry would refuse every later run.
    if not _is_entry(entry):
        raise ValueError(f"a start spread needs a finite deviation and its freedom: {entry}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            # Read inside the lock: what another calibration has written since must stay.
            entries = _read(path)
            entries[key] = dict(entry)
            text = json.dumps(entries, indent=2, allow_nan=False)
            write_atomically(path, f"{text}\n")
    except OSError as error:
        raise UserError(
            f"the start spread cannot be kept in {path} ({error.strerror}); "
            "make room, or make the folder writable"
        ) from error
    return path


def old_file_note(folder: Path | None = None) -> str | None:
    """Return a sentence about the noise floors of an earlier version; null where there are none.

    Args:
        folder: of the file; null is the user's data directory.
    """
    path = _path(folder).with_name(OLD_FILE)
    if not path.exists():
        return None
    return (
        f"{path} is of an earlier version and is not read: the margin is measure.margin alone, and "
        "what a start does to a ratio is in its interval, as python -m jaxgen.calibrate measures it"
    )


def _path(folder: Path | None) -> Path:
    if folder is None:
        folder = Path(platformdirs.user_data_dir("jaxgen"))
    return folder / FILE


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the right to change a file; wait for whoever has it."""
    # A file of its own: the other one is replaced, and a lock would stay on the old one. It is not
    # removed, or a third process would lock a new one while a second still waits for this one.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, Any]:
    """Return all entries; none where there is no file yet."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no UTF-8
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise UserError(_unreadable(path, str(reason))) from error
    are_entries = isinstance(entries, dict) and all(map(_is_entry, entries.values()))
    if not are_entries:
        reason = "an entry has no deviation or no degrees of freedom"
        raise UserError(_unreadable(path, reason))
    return entries


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"the start spreads in {path} cannot be read ({reason}); "
        "delete the file, and calibrate again"
    )


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, Mapping):
        return False
    deviation: Any = entry.get("deviation")
    freedom: Any = entry.get("freedom")
    # By their very types: to Python true is an int, and would be a deviation of 100 %.
    if type(deviation) not in (int, float) or type(freedom) is not int:
        return False
    return 0 <= deviation < math.inf and freedom >= 1
