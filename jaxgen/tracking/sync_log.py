"""What `wandb sync` lost without a word: it marks a run as synced even if files of it were refused on the way."""

import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

_ABOUT_DATA = ("sender:", "file transfer:", "runfiles:", "filestream:")
"""How its log's errors begin that cost data; others are about what a server cannot do."""


def logs_of(wandb_folder: Path) -> frozenset[Path]:
    """The logs that `wandb sync` has written so far."""
    return frozenset((wandb_folder / "logs").glob("debug-sync*.log"))


def losses(wandb_folder: Path, *, known: Set[Path]) -> dict[str, str]:
    """What was lost, by the name of the run's folder.

    Args:
        wandb_folder: that of the run folder.
        known: `logs_of` it before.

    Returns:
        The first error about data of each run that has one.
    """
    found: dict[str, str] = {}
    for path in sorted(logs_of(wandb_folder) - known):
        for entry in _entries(path):
            message = str(entry.get("msg", "")).strip()
            if entry.get("level") == "ERROR" and message.startswith(_ABOUT_DATA):
                found.setdefault(Path(str(entry.get("sync_path", ""))).parent.name, message)
    return found


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # the last line of a process that was killed
            continue
        if isinstance(entry, dict):
            yield entry
