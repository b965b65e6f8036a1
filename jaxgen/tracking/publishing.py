"""A report for wandb: its specification beside the pages, and the report itself on the server that has its runs.

wandb-workspaces, which builds it, is an optional extra and runs in child processes with time limits.
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
"""Of saving, once the server has answered at all; it takes 5."""

_EXTRA = "wandb_workspaces"


@dataclasses.dataclass(frozen=True)
class Published:
    """What became of a report.

    Attributes:
        spec: the file that holds its specification.
        url: where it was saved; null where it was not.
        problem: why it could not be saved; null where it was, or was not to be yet.
        later: what to do for it to be saved; null where it was.
    """

    spec: Path
    url: str | None = None
    problem: str | None = None
    later: str | None = None


def require() -> None:
    """Refuse where the extra is not installed.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec(_EXTRA) is None:
        raise UserError(
            "--wandb needs wandb-workspaces, which is not installed here; pip install 'jaxgen[wandb-report]' brings it"
        )


def publish(sheet: Sheet, folders: Sequence[Path], *, home: Path) -> Published:
    """Write a report's specification, and save the report where all of its runs have been sent to wandb.

    Args:
        sheet: what it says.
        folders: of its runs.
        home: the folder of the specification.

    Returns:
        How it went. It takes at most `logging_process.LIMIT_S`; with saving, the same again for wandb's own start,
        `sending.INIT_TIMEOUT_S` and `SAVE_LIMIT_S` on top.

    Raises:
        UserError: the runs have nothing in wandb, or not in one project; the specification cannot be made.
    """
    told = {
        folder: each
        for folder in folders
        if (each := log_state.read(folder)) is not None and each.runs
    }
    selection, spec = _selection(told), home.absolute() / SPEC
    outcome = _built(Task(sheet, selection, str(spec)), home, limit_s=logging_process.LIMIT_S)
    if outcome.code != 0:
        raise UserError(
            f"no report was made for wandb ({_ended(outcome, logging_process.LIMIT_S)})"
        )
    runs = [upload.markers(folder, run) for folder, each in told.items() for run in each.runs]
    unsent = sum(not markers for markers in runs)
    if unsent:
        later = "send them with python -m jaxgen.report RUN... --sync, then repeat this"
        return Published(
            spec, later=f"{unsent} of its {len(runs)} wandb runs are not sent yet; {later}"
        )
    url, problem = _saved(sheet, selection, home)
    return Published(spec, url, problem, later=None if url else "repeat this when it answers")


def _selection(told: Mapping[Path, Logged]) -> Selection:
    """All arms of all runs, by arm."""
    orders = [each.order for each in told.values()]
    if not orders:
        raise UserError(
            "--wandb: none of these runs was logged to wandb; a run with tracker=wandb is"
        )
    places = {(order.project, order.entity) for order in orders}
    if len(places) > 1:
        named = ", ".join(sorted(f"{entity or 'your own'}/{project}" for project, entity in places))
        raise UserError(
            f"--wandb: these runs are in several projects of wandb ({named}); give those of one"
        )
    runs: dict[str, list[str]] = {}
    for each in told.values():
        for run in each.runs:
            runs.setdefault(run.arm, []).append(run.id)
    groups = list(dict.fromkeys(order.group for order in orders))
    return Selection(project=orders[0].project, entity=orders[0].entity, groups=groups, runs=runs)


def _saved(sheet: Sheet, selection: Selection, home: Path) -> tuple[str | None, str | None]:
    """Where it was saved, or why it was not."""
    try:
        server = logging_process.server(home)
    except logging_process.NotLogged as error:
        return None, f"wandb does not start ({error})"
    silence = upload.no_answer(server, home, limit_s=upload.INIT_TIMEOUT_S)
    if silence is not None:
        return None, silence
    outcome = _built(Task(sheet, selection, None), home, limit_s=SAVE_LIMIT_S)
    if outcome.code == 0:
        return outcome.last_line, None
    return None, f"{server} did not take it ({_ended(outcome, SAVE_LIMIT_S)})"


def _built(task: Task, home: Path, *, limit_s: float) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="jaxgen-") as place:
        path = Path(place, "task.json")
        path.write_text(json.dumps(dataclasses.asdict(task)), encoding="utf-8")
        words = ["jaxgen.tracking.workspace", str(path)]
        log = logging_process.log_of(home)
        return run_module(words, env=logging_process.environment(home), limit_s=limit_s, log=log)


def _ended(outcome: Outcome, limit_s: float) -> str:
    if outcome.code is None:
        return f"it was not done after {limit_s:g} s"
    if "not logged in" in outcome.output:
        return "there is no API key: wandb login, or WANDB_API_KEY"
    return re.sub(r"^[\w.]+(Error|Exception): ", "", outcome.last_line)
