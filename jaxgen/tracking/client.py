"""The run's side of the wandb tracker: it has a finished run logged and sent, within time limits.

Offline files come first, whatever the mode: they need no server, so a server can spoil nothing.
With `tracker.mode=online` they are sent right away. What cannot be sent waits for
`jaxgen.report RUN --sync`.
"""

import logging
import secrets
import shlex
from pathlib import Path

from jaxgen.specs.tracker import Mode, Wandb
from jaxgen.tracking import log_state, upload
from jaxgen.tracking.log_state import Logged
from jaxgen.tracking.logging_process import NotLogged, log_offline


def track(tracker: Wandb, folder: Path) -> list[str]:
    """Log a finished run, and send it if the tracker's mode says so.

    It takes at most `logging_process.LIMIT_S` seconds; with `mode=online` at most `init_timeout_s`
    and `finish_timeout_s` on top.

    Args:
        tracker: the spec.
        folder: the run folder.

    Returns:
        A line for the user, and one more if parts could not be logged.
    """
    try:
        # Absolute, because a later sending compares this path with where it finds the folder:
        # if the folder was moved, all is logged anew.
        return _log_and_send(tracker, folder.absolute())
    except NotLogged as error:
        reason = str(error)
    except Exception as error:  # a tracker must not change how a run ends
        logging.getLogger(__name__).exception("the tracker ended with an error")
        reason = f"{type(error).__name__}: {error}"
    return [f"wandb could not log this run ({reason}); the run folder has everything"]


def _log_and_send(tracker: Wandb, folder: Path) -> list[str]:
    # What an earlier run in this folder has logged must not be sent as this one's.
    log_state.forget(folder)
    # Equal runs have equal run ids: the token keeps their wandb runs apart.
    token = secrets.token_hex(4)
    order = log_state.order_of(tracker, folder, token=token)
    logged = log_offline(order)
    notes = []
    if logged.problems:
        problems = "; ".join(logged.problems)
        notes.append(f"wandb could not log {problems}; the run folder has it")
    path = shlex.quote(_short_path(folder))
    command = f"python -m jaxgen.report {path} --sync"
    if tracker.mode is Mode.offline:
        return [f"wandb: logged offline; send it with: {command}", *notes]
    return [_send(tracker, logged, command), *notes]


def _send(tracker: Wandb, logged: Logged, command: str) -> str:
    """Send what was logged; return the line for the user."""
    sent = upload.send(
        logged, init_timeout_s=tracker.init_timeout_s, finish_timeout_s=tracker.finish_timeout_s
    )
    unsent = [run for run in sent if run.state is upload.State.offline]
    if unsent:
        # A server that refuses one run mostly refuses them all: the first reason is enough.
        reason = unsent[0].detail
        count = f"{len(unsent)} of {len(sent)} runs stay offline"
        return f"wandb: {reason}; {count}; send them with: {command}"
    addresses = ", ".join(run.detail for run in sent)
    return f"wandb: sent, {addresses}"


def _short_path(folder: Path) -> str:
    """Return the path as short as it can be typed here."""
    here = Path.cwd()
    if folder.is_relative_to(here):
        return str(folder.relative_to(here))
    return str(folder)
