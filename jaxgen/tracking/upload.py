"""What lies offline goes to the wandb server, in child processes with time limits; each run is told apart."""

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
"""Of a sending that was asked for by itself, which may take its time."""


class State(enum.Enum):
    """What became of one wandb run."""

    sent = "sent"
    before = "sent before"
    kept = "kept offline"


@dataclasses.dataclass(frozen=True)
class Sent:
    """One wandb run that was to be sent.

    Attributes:
        arm: whose it is.
        id: wandb's.
        state: what became of it.
        detail: where it can be seen, or why it was kept.
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
        init_timeout_s: how long the server may take to answer at all.
        finish_timeout_s: how long the sending may take.

    Returns:
        One row per arm.

    Raises:
        UserError: nothing was logged there.
    """
    folder = folder.absolute()
    told = log_state.read(folder)
    if told is None:
        raise UserError(
            f"{folder} holds nothing for wandb; a run with tracker=wandb leaves it there"
        )
    whole = _arms_of(folder) <= {run.arm for run in told.runs}
    if whole and all(markers(folder, run) for run in told.runs):
        return [Sent(run.arm, run.id, State.before, run.id) for run in told.runs]
    try:
        if whole and Path(told.order.folder) == folder:
            told = dataclasses.replace(told, server=logging_process.server(folder))
        else:  # moved since, and wandb has noted absolute paths; or the logging process had died between the arms
            told = logging_process.log_offline(dataclasses.replace(told.order, folder=str(folder)))
    except logging_process.NotLogged as error:
        raise UserError(f"wandb cannot be used on {folder} ({error})") from error
    return send(told, init_timeout_s=init_timeout_s, finish_timeout_s=finish_timeout_s)


def _arms_of(folder: Path) -> set[str]:
    """The arms that the result has, as far as it can be read."""
    try:
        return set(read_result(folder / RESULT)["arms"])
    except (Unreadable, KeyError, TypeError):
        return set()


def send(told: Logged, *, init_timeout_s: float, finish_timeout_s: float) -> list[Sent]:
    """The same of what is known to be logged, where it was logged."""
    folder = Path(told.order.folder)
    waiting = [run for run in told.runs if not markers(folder, run)]
    problems, urls = {}, {}
    if waiting:
        silence = no_answer(told.server, folder, limit_s=init_timeout_s)
        problems = dict.fromkeys(waiting, silence)
        if silence is None:
            problems, urls = _send(folder, waiting, limit_s=finish_timeout_s, server=told.server)
    return [
        _row(run, before=run not in waiting, problem=problems.get(run), urls=urls)
        for run in told.runs
    ]


def _row(run: LoggedRun, *, before: bool, problem: str | None, urls: dict[str, str]) -> Sent:
    if problem is not None:
        return Sent(run.arm, run.id, State.kept, problem)
    return Sent(run.arm, run.id, State.before if before else State.sent, urls.get(run.id, run.id))


def markers(folder: Path, run: LoggedRun) -> list[Path]:
    """What `wandb sync` leaves beside a run that it has sent."""
    return list((log_state.wandb_folder(folder) / run.place).glob("*.wandb.synced"))


def no_answer(server: str, folder: Path, *, limit_s: float) -> str | None:
    """Why a server does not answer; null if it does, be it with a refusal."""
    outcome = run_module(
        ["jaxgen.tracking.probe", server, str(limit_s)],
        env={},
        limit_s=limit_s,
        log=logging_process.log_of(folder),
    )
    if outcome.code is None or "timed out" in outcome.output:
        return f"{server} gave no answer within {limit_s:g} s"
    return None if outcome.code == 0 else f"{server} cannot be reached ({outcome.last_line})"


def _send(
    folder: Path, runs: Sequence[LoggedRun], *, limit_s: float, server: str
) -> tuple[dict[LoggedRun, str | None], dict[str, str]]:
    """Why each run was not sent, or null; and where what was sent can be seen, by id."""
    place = log_state.wandb_folder(folder)
    known = sync_log.logs_of(place)
    outcome = run_module(
        ["wandb", "sync", "--yes", *(str(place / run.place) for run in runs)],
        env=logging_process.environment(folder),
        limit_s=limit_s,
        log=logging_process.log_of(folder),
    )
    losses = sync_log.losses(place, known=known)
    for run in runs:
        if run.place in losses:  # or the next sending would pass it over
            for marker in markers(folder, run):
                marker.unlink()
    urls = re.findall(r"https?://\S+/runs/[\w-]+", outcome.output)
    why = _why_not(outcome, server=server, limit_s=limit_s)
    problems = {
        run: f"{server} did not take all of it ({losses[run.place]})"
        if run.place in losses
        else (None if markers(folder, run) else why)
        for run in runs
    }
    return problems, {url.rsplit("/", 1)[1]: url for url in urls}


def _why_not(outcome: Outcome, *, server: str, limit_s: float) -> str:
    if outcome.code is None:
        return f"{server} had not taken all after {limit_s:g} s"
    if "No API key" in outcome.output:
        return "there is no API key (wandb login, or WANDB_API_KEY)"
    errors = [line.partition("ERROR ")[2] for line in outcome.output.splitlines()]
    said = [error for error in errors if error and not error.startswith("Find detailed error logs")]
    return f"{server} did not take it ({said[0] if said else outcome.last_line})"
