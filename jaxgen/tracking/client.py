"""The run's side of the wandb tracker: has a finished run logged and sent, within limits, and tells how it went.

Offline files come first, whatever the mode: they need no server, so a server can spoil nothing. With
`tracker.mode=online` they are sent right away, and what cannot be sent waits for `jaxgen.report RUN --sync`.
"""

import logging
import secrets
import shlex
from pathlib import Path

from jaxgen.specs.tracker import Mode, Wandb
from jaxgen.tracking import log_state, upload
from jaxgen.tracking.logging_process import NotLogged, log_offline


def track(tracker: Wandb, folder: Path) -> list[str]:
    """Log a finished run, and send it if that is asked for.

    Args:
        tracker: the spec.
        folder: the run folder.

    Returns:
        A line for the user, and one more if parts could not be logged. It takes at most `logging_process.LIMIT_S`,
        and with `mode=online` at most `init_timeout_s` and `finish_timeout_s` on top.
    """
    try:
        return _track(tracker, folder.absolute())
    except NotLogged as error:
        why = str(error)
    except Exception as error:  # a tracker must not change how a run ends
        logging.getLogger(__name__).exception("the tracker ended with an error")
        why = f"{type(error).__name__}: {error}"
    return [f"wandb could not log this run ({why}); the run folder has everything"]


def _track(tracker: Wandb, folder: Path) -> list[str]:
    log_state.forget(folder)
    told = log_offline(log_state.order_of(tracker, folder, token=secrets.token_hex(4)))
    notes = (
        [f"wandb could not log {'; '.join(told.problems)}; the run folder has it"]
        if told.problems
        else []
    )
    later = f"python -m jaxgen.report {shlex.quote(_shown(folder))} --sync"
    if tracker.mode is Mode.offline:
        return [f"wandb: logged offline; send it with: {later}", *notes]
    sent = upload.send(
        told, init_timeout_s=tracker.init_timeout_s, finish_timeout_s=tracker.finish_timeout_s
    )
    kept = [each for each in sent if each.state is upload.State.kept]
    if kept:
        return [
            f"wandb: {kept[0].detail}; {len(kept)} of {len(sent)} runs stay offline; send them with: {later}",
            *notes,
        ]
    return [f"wandb: sent, {', '.join(each.detail for each in sent)}", *notes]


def _shown(folder: Path) -> str:
    """As short as it can be typed here."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
