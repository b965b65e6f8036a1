"""A report for wandb: its specification beside the pages, and the report itself on the server.

wandb-workspaces, which builds it, is an optional extra, and runs in child processes with limits.
"""

import dataclasses
import importlib.util
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.tracking import log_state, logging_process, upload
from jaxgen.tracking.child_process import Outcome, run_module
from jaxgen.tracking.log_state import Logged
from jaxgen.tracking.report_sheet import Selection, Sheet, Task

SPEC = "report.wandb.json"
SAVE_LIMIT_S = 30.0
"""The limit of saving, once the server has answered at all; it takes 5 s."""

_EXTRA = "wandb_workspaces"


@dataclasses.dataclass(frozen=True)
class Published:
    """What became of a report.

    Attributes:
        spec: the file with its specification.
        url: where it was saved; null where it was not.
        problem: why it could not be saved; null where it was, or was not to be saved yet.
        later: what to do for it to be saved; null where it was.
    """

    spec: Path
    url: str | None = None
    problem: str | None = None
    later: str | None = None


def require() -> None:
    """Check that the extra is installed.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec(_EXTRA) is None:
        raise UserError(
            "--wandb needs wandb-workspaces, which is not installed here; "
            "pip install 'jaxgen[wandb-report]' brings it"
        )


def publish(sheet: Sheet, folders: Sequence[Path], *, home: Path) -> Published:
    """Write a report's specification, and save the report if all its runs have been sent to wandb.

    It takes at most `logging_process.LIMIT_S` seconds; with saving, the same again for wandb's own
    start, and `upload.INIT_TIMEOUT_S` and `SAVE_LIMIT_S` on top.

    Args:
        sheet: what the report says.
        folders: the folders of its runs.
        home: the folder for the specification.

    Returns:
        What became of it.

    Raises:
        UserError: the runs have nothing in wandb, or are not in one project of it; or the
            specification cannot be made.
    """
    logged = _logged_of(folders)
    selection = _selection(list(logged.values()))
    spec = home.absolute() / SPEC
    # Without a server first: the specification is there whatever becomes of the saving.
    task = Task(sheet, selection, str(spec))
    outcome = _build(task, home, limit_s=logging_process.LIMIT_S)
    if outcome.code != 0:
        reason = _failure_of(outcome, logging_process.LIMIT_S)
        raise UserError(f"no report was made for wandb ({reason})")
    # Panels of runs that the server does not have would be empty.
    unsent, total = _count_unsent(logged)
    if unsent:
        later = (
            f"{unsent} of its {total} wandb runs are not sent yet; "
            "send them with python -m jaxgen.report RUN... --sync, then repeat this"
        )
        return Published(spec, later=later)
    url, problem = _save(sheet, selection, home)
    return Published(spec, url, problem, later=None if url else "repeat this when it answers")


def _logged_of(folders: Sequence[Path]) -> dict[Path, Logged]:
    """Return what each folder's run has logged; folders without a wandb run are left out."""
    logged = {}
    for folder in folders:
        state = log_state.read(folder)
        if state is not None and state.runs:
            logged[folder] = state
    return logged


def _count_unsent(logged: Mapping[Path, Logged]) -> tuple[int, int]:
    """Return how many wandb runs are not sent yet, and of how many."""
    unsent = total = 0
    for folder, state in logged.items():
        for run in state.runs:
            total += 1
            unsent += not upload.markers(folder, run)
    return unsent, total


def _selection(states: Sequence[Logged]) -> Selection:
    """Return all wandb runs, by arm."""
    orders = [state.order for state in states]
    if not orders:
        raise UserError(
            "--wandb: none of these runs was logged to wandb; a run with tracker=wandb is"
        )
    projects = {(order.project, order.entity) for order in orders}
    if len(projects) > 1:
        names = []
        for project, entity in projects:
            names.append(f"{entity or 'your own'}/{project}")
        raise UserError(
            f"--wandb: these runs are in several projects of wandb ({', '.join(sorted(names))}); "
            "give those of one"
        )
    runs: dict[str, list[str]] = {}
    for state in states:
        for run in state.runs:
            runs.setdefault(run.arm, []).append(run.id)
    groups = list(dict.fromkeys(order.group for order in orders))
    return Selection(project=orders[0].project, entity=orders[0].entity, groups=groups, runs=runs)


def _save(sheet: Sheet, selection: Selection, home: Path) -> tuple[str | None, str | None]:
    """Save the report on the server; return its address and null, or null and why not."""
    try:
        server = logging_process.server(home)
    except logging_process.NotLogged as error:
        return None, f"wandb does not start ({error})"
    # A silent server is found by the short probe; the saving would wait for its whole limit, and
    # could not say that the server is the reason.
    silence = upload.no_answer(server, home, limit_s=upload.INIT_TIMEOUT_S)
    if silence is not None:
        return None, silence
    outcome = _build(Task(sheet, selection, None), home, limit_s=SAVE_LIMIT_S)
    # The child prints the address last.
    if outcome.code == 0:
        return outcome.last_line, None
    return None, f"{server} did not take it ({_failure_of(outcome, SAVE_LIMIT_S)})"


def _build(task: Task, home: Path, *, limit_s: float) -> Outcome:
    """Have the report built in a child process, which gets the task as a file."""
    with tempfile.TemporaryDirectory(prefix="jaxgen-") as folder:
        path = Path(folder, "task.json")
        path.write_text(json.dumps(dataclasses.asdict(task)), encoding="utf-8")
        # The tables of a long sweep do not fit on a command line: Linux takes 128 KiB a word.
        words = ["jaxgen.tracking.workspace", str(path)]
        log = logging_process.log_of(home)
        return run_module(words, env=logging_process.environment(home), limit_s=limit_s, log=log)


def _failure_of(outcome: Outcome, limit_s: float) -> str:
    """Return why a child process has built no report."""
    if outcome.code is None:
        return f"it was not done after {limit_s:g} s"
    if "not logged in" in outcome.output:
        return "there is no API key: wandb login, or WANDB_API_KEY"
    # The last line of a traceback is `package.SomeError: reason`; the user needs the reason.
    return re.sub(r"^[\w.]+(Error|Exception): ", "", outcome.last_line)
