"""Who else is told of a finished run: wandb.

The numbers are on disk before this package is called. Nothing here can lose one, or raise.
"""

from pathlib import Path

from jaxgen.specs.tracker import NoTracker, TrackerSpec, Wandb
from jaxgen.tracking import client
from jaxgen.tracking.upload import Sent, State, sync

__all__ = ["Sent", "State", "sync", "track"]


def track(tracker: TrackerSpec, folder: Path) -> list[str]:
    """Log a finished run with the tracker.

    Args:
        tracker: the candidate's; both arms have the same.
        folder: the run folder, whose result.json has been written for the last time.

    Returns:
        Notes for the user, one line each: where the run was logged; or why not, and what to do.

    Raises:
        KeyboardInterrupt: while waiting.
    """
    return _TRACKERS[type(tracker)](tracker, folder)


_TRACKERS = {NoTracker: lambda tracker, folder: [], Wandb: client.track}
