"""Who else hears of a finished result. The numbers are on disk before; nothing here can lose one or raise."""

from pathlib import Path

from jaxgen.specs.tracker import NoTracker, TrackerSpec, Wandb
from jaxgen.tracking import client
from jaxgen.tracking.upload import Sent, State, sync

__all__ = ["Sent", "State", "sync", "track"]


def track(tracker: TrackerSpec, folder: Path) -> list[str]:
    """Tell the tracker of a finished run.

    Args:
        tracker: of the candidate; both arms have the same.
        folder: the run folder, its result.json written for the last time.

    Returns:
        What the user should know, one line each: where it was logged, or why not, and what to do then.

    Raises:
        KeyboardInterrupt: while waiting.
    """
    return _TRACKERS[type(tracker)](tracker, folder)


_TRACKERS = {NoTracker: lambda tracker, folder: [], Wandb: client.track}
