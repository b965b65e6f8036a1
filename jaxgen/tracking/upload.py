"""Sends what lies offline to the wandb server, in child processes with time limits.

Each wandb run has an outcome of its own: one can be refused and another accepted.
"""

import dataclasses
import enum
import re
from collections.abc import Sequence
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.results.files import RESULT
from jaxgen.results.reading import Unreadable, read_result
from jaxgen.tracking import log_state, logging_process, sync_log
from jaxgen.tracking.child_process import Outcome, run_module
from jaxgen.tracking.log_state import Logged, LoggedRun

INIT_TIMEOUT_S, FINISH_TIMEOUT_S = 15.0, 300.0
"""The limits of a sending that the user asked for by itself, which may take its time."""


class State(enum.Enum):
    """What became of one wandb run."""

    sent = "sent"
    sent_before = "sent before"
    offline = "kept offline"


@dataclasses.dataclass(frozen=True)
class Sent:
    """One wandb run that was to be sent.

    Attributes:
        arm: the arm that it is of.
        id: wandb's id of it.
        state: what became of it.
        detail: where it can be seen, or why it stays offline.
    """

    arm: str
    id: str
    state: State
    detail: str

    def __str__(self) -> str:
        return f"{self.arm}: {self.state.value}: {self.detail}"


def sync(
    folder: Path,
    *,
    init_timeout_s: float = INIT_TIMEOUT_S,
    finish_timeout_s: float = FINISH_TIMEOUT_S,
) -> list[Sent]:
    """Send what a run with `tracker=wandb` logged offline.

    Args:
        folder: the run folder.
        init_timeout_s: seconds that the server may take to answer at all.
        finish_timeout_s: seconds that the sending may take.

    Returns:
        One row per arm.

    Raises:
        UserError: nothing was logged there, or wandb cannot be used.
    """
    folder = folder.absolute()
    logged = log_state.read(folder)
    if logged is None:
        raise UserError(
            f"{folder} holds nothing for wandb; a run with tracker=wandb leaves it there"
        )
    logged_arms = {run.arm for run in logged.runs}
    # A logging process that died before the first arm has logged nothing, which is not all.
    complete = bool(logged.runs) and _arms_of(folder) <= logged_arms
    if complete and all(markers(folder, run) for run in logged.runs):
        return [Sent(run.arm, run.id, State.sent_before, run.id) for run in logged.runs]
    try:
        if complete and Path(logged.order.folder) == folder:
            # The user may have chosen another server since.
            server = logging_process.server(folder)
            logged = dataclasses.replace(logged, server=server)
        else:
            # The folder was moved, and wandb writes absolute paths into its files; or the logging
            # process had died between the arms. Both are mended by logging anew.
            order = dataclasses.replace(logged.order, folder=str(folder))
            logged = logging_process.log_offline(order)
    except logging_process.NotLogged as error:
        raise UserError(f"wandb cannot be used on {folder} ({error})") from error
    return send(logged, init_timeout_s=init_timeout_s, finish_timeout_s=finish_timeout_s)


def send(logged: Logged, *, init_timeout_s: float, finish_timeout_s: float) -> list[Sent]:
    """Send runs that are known to be logged, and to lie where they were logged.

    Args:
        logged: what a run folder holds.
        init_timeout_s: seconds that the server may take to answer at all.
        finish_timeout_s: seconds that the sending may take.

    Returns:
        One row per arm.
    """
    folder = Path(logged.order.folder)
    waiting = [run for run in logged.runs if not markers(folder, run)]
    problems: dict[LoggedRun, str] = {}
    urls: dict[str, str] = {}
    if waiting:
        # A silent server must cost its own short limit, not that of the whole sending.
        silence = no_answer(logged.server, folder, limit_s=init_timeout_s)
        if silence is not None:
            problems = dict.fromkeys(waiting, silence)
        else:
            problems, urls = _sync(folder, waiting, limit_s=finish_timeout_s, server=logged.server)
    sent = []
    for run in logged.runs:
        if run in problems:
            state, detail = State.offline, problems[run]
        else:
            state = State.sent if run in waiting else State.sent_before
            detail = urls.get(run.id, run.id)
        sent.append(Sent(run.arm, run.id, state, detail))
    return sent


def markers(folder: Path, run: LoggedRun) -> list[Path]:
    """Return what `wandb sync` leaves beside a run that it has sent; nothing before."""
    run_folder = log_state.wandb_folder(folder) / run.place
    return list(run_folder.glob("*.wandb.synced"))


def no_answer(server: str, folder: Path, *, limit_s: float) -> str | None:
    """Return why a server does not answer; null if it does. A refusal is an answer."""
    words = ["jaxgen.tracking.probe", server, str(limit_s)]
    outcome = run_module(words, env={}, limit_s=limit_s, log=logging_process.log_of(folder))
    if outcome.code is None or "timed out" in outcome.output:
        return f"{server} gave no answer within {limit_s:g} s"
    if outcome.code != 0:
        return f"{server} cannot be reached ({outcome.last_line})"
    return None


def _arms_of(folder: Path) -> set[str]:
    """Return the arms that the result has, as far as it can be read."""
    try:
        result = read_result(folder / RESULT)
        return set(result["arms"])
    except (Unreadable, KeyError, TypeError):
        return set()


def _sync(
    folder: Path, runs: Sequence[LoggedRun], *, limit_s: float, server: str
) -> tuple[dict[LoggedRun, str], dict[str, str]]:
    """Run `wandb sync`; return why runs were not sent, and the addresses of sent ones by id."""
    wandb_folder = log_state.wandb_folder(folder)
    earlier = sync_log.logs_of(wandb_folder)
    # All runs go into one process: the start of wandb takes seconds, and is paid once.
    folders = [str(wandb_folder / run.place) for run in runs]
    # wandb writes new logs; what stands in older ones is of earlier sendings.
    outcome = run_module(
        ["wandb", "sync", "--yes", *folders],
        env=logging_process.environment(folder),
        limit_s=limit_s,
        log=logging_process.log_of(folder),
    )
    losses = sync_log.losses(wandb_folder, earlier=earlier)
    problems = {}
    for run in runs:
        loss = losses.get(run.place)
        if loss is not None:
            problems[run] = f"{server} did not take all of it ({loss})"
            # With its marker the next sending would pass the run over.
            for marker in markers(folder, run):
                marker.unlink()
        # Neither an error about data nor a marker: the process did not come to the end of this run.
        elif not markers(folder, run):
            problems[run] = _failure_of(outcome, server=server, limit_s=limit_s)
    urls = {}
    # An address ends with the id of its run, so that their order does not matter.
    for url in re.findall(r"https?://\S+/runs/[\w-]+", outcome.output):
        run_id = url.rsplit("/", 1)[1]
        urls[run_id] = url
    return problems, urls


def _failure_of(outcome: Outcome, *, server: str, limit_s: float) -> str:
    """Return why `wandb sync` left a run without its marker."""
    if outcome.code is None:
        return f"{server} had not taken all after {limit_s:g} s"
    if "No API key" in outcome.output:
        return "there is no API key (wandb login, or WANDB_API_KEY)"
    reason = outcome.last_line
    for line in outcome.output.splitlines():
        error = line.partition("ERROR ")[2]
        # Its last error only says where the log is.
        if error and not error.startswith("Find detailed error logs"):
            reason = error
            break
    return f"{server} did not take it ({reason})"
