"""The process that logs a run folder offline: how it is started and limited, and how it ended."""

import dataclasses
import json
from pathlib import Path

from jaxgen.tracking import log_state
from jaxgen.tracking.child_process import run_module
from jaxgen.tracking.log_state import Logged, Order

LIMIT_S = 60.0
"""It takes 2 or 3 s; on a busy machine or a slow disk most of it is the import of a library."""

_FOREIGN = (
    "WANDB_SERVICE",
    "WANDB_MODE",
    "WANDB_DISABLED",
    "WANDB_RUN_ID",
    "WANDB_RESUME",
    "WANDB_SWEEP_ID",
    "WANDB_NAME",
    "WANDB_RUN_GROUP",
    "WANDB_JOB_TYPE",
    "WANDB_TAGS",
    "WANDB_NOTES",
    "WANDB_RUN_DIR",
)
"""Variables about a wandb run that is not ours; address, key and entity are the user's to set."""


class NotLogged(Exception):
    """The run folder could not be logged; the message says why."""


def log_offline(order: Order) -> Logged:
    """Log a run folder.

    What an earlier process has written to `wandb/jaxgen.json` stays until this one writes it anew.

    Args:
        order: which folder, and under which names.

    Returns:
        What was logged.

    Raises:
        NotLogged: not all of it could be.
    """
    folder = Path(order.folder)
    words = ["jaxgen.tracking.wandb", json.dumps(dataclasses.asdict(order))]
    outcome = run_module(words, env=environment(folder), limit_s=LIMIT_S, log=log_of(folder))
    logged = log_state.read(folder)
    # What the file holds by now is kept even so: a later sending sees by it which arms are missing,
    # and logs the folder anew.
    if outcome.code is None:
        raise NotLogged(f"it was not done after {LIMIT_S:g} s")
    if outcome.code or logged is None:
        raise NotLogged(outcome.last_line)
    return logged


def server(folder: Path) -> str:
    """Return the address that wandb would send to from here and now.

    Raises:
        NotLogged: wandb does not start.
    """
    words = ["jaxgen.tracking.wandb"]
    outcome = run_module(words, env=environment(folder), limit_s=LIMIT_S, log=log_of(folder))
    if outcome.code != 0:
        raise NotLogged(outcome.last_line)
    # wandb may have printed warnings before it; the address is the last thing that is printed.
    return outcome.last_line


def log_of(folder: Path) -> Path:
    """Return the file to which the processes that use wandb print."""
    return log_state.wandb_folder(folder) / "jaxgen.log"


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that keep all of wandb's files below the run folder.

    wandb's telemetry, which blocks where nobody answers, is off.
    """
    wandb_folder = log_state.wandb_folder(folder)
    removed = dict.fromkeys(_FOREIGN, "")
    return removed | {
        "WANDB_DIR": str(folder),
        "WANDB_DATA_DIR": str(wandb_folder / "data"),
        "WANDB_CACHE_DIR": str(wandb_folder / "cache"),
        "WANDB_ARTIFACT_DIR": str(wandb_folder / "artifacts"),
        "WANDB_ERROR_REPORTING": "false",
        # Both are removed: addresses, and the reasons of failures, are read from what wandb prints.
        "WANDB_SILENT": "",
        "WANDB_QUIET": "",
    }
