"""The process that logs a run folder offline: started, limited, and its outcome read back."""

import dataclasses
import json
from pathlib import Path

from jaxgen.tracking import log_state
from jaxgen.tracking.child_process import run_module
from jaxgen.tracking.log_state import Logged, Order

LIMIT_S = 60.0
"""It takes 2 or 3; on a busy machine or a slow disk most of it is the import of a library."""

_NOT_OURS = (
    *(
        "WANDB_SERVICE",
        "WANDB_MODE",
        "WANDB_DISABLED",
        "WANDB_RUN_ID",
        "WANDB_RESUME",
        "WANDB_SWEEP_ID",
    ),
    *(
        "WANDB_NAME",
        "WANDB_RUN_GROUP",
        "WANDB_JOB_TYPE",
        "WANDB_TAGS",
        "WANDB_NOTES",
        "WANDB_RUN_DIR",
    ),
)
"""What the environment says of somebody else's wandb run; address, key and entity are the user's to set there."""


class NotLogged(Exception):
    """The run folder could not be logged; the message says why."""


def log_offline(order: Order) -> Logged:
    """Log a run folder; what was noted there before stays until the process notes something else.

    Args:
        order: which, and under which names.

    Returns:
        What was logged.

    Raises:
        NotLogged: not all of it could be.
    """
    folder = Path(order.folder)
    words = ["jaxgen.tracking.wandb", json.dumps(dataclasses.asdict(order))]
    outcome = run_module(words, env=environment(folder), limit_s=LIMIT_S, log=log_of(folder))
    told = log_state.read(folder)
    if outcome.code is None:
        raise NotLogged(f"it was not done after {LIMIT_S:g} s")
    if outcome.code or told is None:
        raise NotLogged(outcome.last_line)
    return told


def server(folder: Path) -> str:
    """Where wandb would send to from here and now.

    Raises:
        NotLogged: wandb does not start.
    """
    outcome = run_module(
        ["jaxgen.tracking.wandb"], env=environment(folder), limit_s=LIMIT_S, log=log_of(folder)
    )
    if outcome.code != 0:
        raise NotLogged(outcome.last_line)
    return outcome.last_line


def log_of(folder: Path) -> Path:
    """What the processes that speak wandb print."""
    return log_state.wandb_folder(folder) / "jaxgen.log"


def environment(folder: Path) -> dict[str, str]:
    """Keeps all of wandb's files below the run folder, and its telemetry, which blocks where nobody answers, off."""
    place = log_state.wandb_folder(folder)
    return dict.fromkeys(_NOT_OURS, "") | {
        "WANDB_DIR": str(folder),
        "WANDB_DATA_DIR": str(place / "data"),
        "WANDB_CACHE_DIR": str(place / "cache"),
        "WANDB_ARTIFACT_DIR": str(place / "artifacts"),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "",
        "WANDB_QUIET": "",
    }
