"""The noise floor of this machine: in one JSON file per user, written by calibration.

An A/A run, the same program in both arms, has a true ratio of 1. How far its ratios lie from 1 is
the smallest difference that an A/B run can claim; with `measure.margin: null` a verdict takes it
from here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import platformdirs

from jaxgen.errors import UserError
from jaxgen.measure.verdict import verdict
from jaxgen.results.files import write_atomically

FILE = "noise_floor.json"
LEAST_FLOOR = 0.001  # a quiet hour does not make a tenth of a percent worth a claim


class Entry(TypedDict):
    """One noise floor, and how it was measured."""

    floor: float
    repetitions: int
    false_verdict_rate: float | None
    measured_at: str
    plan: dict[str, Any]


def key_of(device_kind: str, cpu: str, *, workload: str, model: str) -> str:
    """Name what a noise floor belongs to: it holds for no other machine, workload or model.

    Example:
        >>> key_of("cpu", "EPYC 9R14", workload="generate", model="tiny")
        'cpu | EPYC 9R14 | generate | tiny'
    """
    return " | ".join((device_kind, cpu, workload, model))


def save(key: str, entry: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Store one noise floor beside the others, in place of an earlier one of the same key.

    Args:
        key: as `key_of` gives it.
        entry: {"floor": share, "repetitions", "false_verdict_rate", "measured_at", "plan"}.
        folder: of the file; None is the user's data directory.

    Returns:
        The file.

    Raises:
        UserError: the file cannot be written, or what stands in it cannot be read.
    """
    path = _path(folder)
    # Checked before it is written: a broken entry would refuse every later run.
    if not _is_entry(entry):
        raise ValueError(f"a noise floor needs a positive, finite 'floor': {entry}")
    entries = _read(path)
    entries[key] = dict(entry)
    text = json.dumps(entries, indent=2, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise UserError(
            f"the noise floor cannot be kept in {path} ({error.strerror}); "
            "make room, or make the folder writable"
        ) from error
    return path


def find(key: str, folder: Path | None = None) -> dict[str, Any] | None:
    """Look a noise floor up.

    Args:
        key: as `key_of` gives it.
        folder: of the file; None is the user's data directory.

    Returns:
        The entry as it was saved, or None where none was measured.

    Raises:
        UserError: the file cannot be read.
    """
    return _read(_path(folder)).get(key)


def floor_from(ratios: Sequence[float]) -> float:
    """Return how far the ratios of A/A runs lie from 1 in all but one of twenty, as a share.

    It is the 95th percentile of |log ratio|, interpolated (type 7 of Hyndman and Fan, as in
    `statistics.summarise`), which is then read back as a share: 1.02 and 1 / 1.02 are equally far.
    Never below 0.001.

    Args:
        ratios: one of each A/A run, positive.
    """
    positive = [ratio for ratio in ratios if math.isfinite(ratio) and ratio > 0]
    if not positive or len(positive) < len(ratios):
        raise ValueError(f"a noise floor needs positive, finite ratios: {list(ratios)}")
    logs = np.log(positive)
    distances = np.abs(logs)
    distance = np.percentile(distances, 95, method="linear")
    return max(LEAST_FLOOR, math.expm1(float(distance)))


def false_verdicts(comparisons: Sequence[Mapping[str, Any]], margin: float) -> float | None:
    """Return the share of A/A comparisons that would be called faster or slower.

    Args:
        comparisons: as `statistics.compare_pairs` gives them.
        margin: as `verdict` takes it, a share.

    Returns:
        A share; None without any comparison.
    """
    if not comparisons:
        return None
    false = 0
    for comparison in comparisons:
        # Outputs and dirt are set aside: how often does the interval alone mislead?
        word, _ = verdict(comparison, margin=margin, agreement="identical", dirty=())
        false += word in ("faster", "slower")
    return false / len(comparisons)


def _path(folder: Path | None) -> Path:
    if folder is None:
        folder = Path(platformdirs.user_data_dir("jaxgen"))
    return folder / FILE


def _read(path: Path) -> dict[str, Any]:
    """Return all entries; none where there is no file yet."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no UTF-8
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise UserError(_unreadable(path, str(reason))) from error
    if not isinstance(entries, dict) or not all(_is_entry(entry) for entry in entries.values()):
        reason = "an entry has no floor, which is a positive number"
        raise UserError(_unreadable(path, reason))
    return entries


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"the noise floors in {path} cannot be read ({reason}); "
        "delete the file, and calibrate again"
    )


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, Mapping):
        return False
    floor = entry.get("floor")
    # To Python true is an int, and would be a floor of 100 %.
    if not isinstance(floor, int | float) or isinstance(floor, bool):
        return False
    return 0 < floor < math.inf
