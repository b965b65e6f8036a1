"""What `wandb sync` lost: it marks a run as synced even if the server refused files of it."""

import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

_ABOUT_DATA = ("sender:", "file transfer:", "runfiles:", "filestream:")
"""How errors in its log begin that cost data; others are about what a server does not offer."""


def logs_of(wandb_folder: Path) -> frozenset[Path]:
    """Return the logs that `wandb sync` has written so far."""
    return frozenset((wandb_folder / "logs").glob("debug-sync*.log"))


def losses(wandb_folder: Path, *, earlier: Set[Path]) -> dict[str, str]:
    """Return what the last `wandb sync` lost.

    Args:
        wandb_folder: that of the run folder.
        earlier: what `logs_of` returned before it.

    Returns:
        The first error about data of each run that has one, by the name of the run's folder.
    """
    errors: dict[str, str] = {}
    for path in sorted(logs_of(wandb_folder) - earlier):
        for entry in _entries(path):
            message = str(entry.get("msg", "")).strip()
            is_error = entry.get("level") == "ERROR"
            if is_error and message.startswith(_ABOUT_DATA):
                # It is the run's own file, whose folder is named as in `LoggedRun.place`.
                sync_path = Path(str(entry.get("sync_path", "")))
                run_folder = sync_path.parent
                # Later errors mostly follow from the first.
                errors.setdefault(run_folder.name, message)
    return errors


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a log, a JSON object a line."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # the last line of a process that was killed
            continue
        if isinstance(entry, dict):
            yield entry
