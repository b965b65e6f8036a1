"""The child process that uses wandb: it logs a finished run folder offline.

`python -m jaxgen.tracking.wandb ORDER` is started with a time limit, and with an environment that
keeps all of wandb's files below the run folder. What it has logged stands in `wandb/jaxgen.json`.
Nothing goes over the network; `wandb sync` sends the files. Without an order the process prints the
address that they would be sent to.
"""

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxgen.results.files import RESULT, SCORES, TRIALS
from jaxgen.tracking import payload
from jaxgen.tracking.log_state import Logged, LoggedRun, Order, write

_SETTINGS = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,
}
"""The result says where it was measured; and what is flushed each second survives a kill."""

_UNNEEDED = ("pandas", "chardet")
"""Libraries that wandb imports where they are installed, two seconds each, without using them."""

_FILES = (RESULT, TRIALS, SCORES)


def main(order: Order) -> None:
    """Log every arm of a run folder, one wandb run each."""
    result, trials = payload.read(Path(order.folder))
    logged = Logged(order=order, server=server(), runs=(), problems=())
    # Written before the first run and after each: whenever this process is killed, the file says
    # which runs are complete.
    write(logged)
    for arm in result["arms"]:
        problems: list[str] = []
        run = _open_run(order, result, arm)
        folder_name = Path(run.settings.sync_dir).name
        try:
            _log_history(run, payload.history(trials, arm))
            # What is about both arms is logged once, with the arm that the verdict is about.
            if arm == "candidate":
                _log_extras(run, Path(order.folder), result, problems)
            run.summary.update(payload.summary(result, arm))
        finally:
            # Without an end the offline file would be one of a run that is still going on.
            failure = result["arms"][arm].get("failure")
            failed = result["status"] != "completed" or failure
            run.finish(exit_code=1 if failed else 0)
        logged_run = LoggedRun(arm, id=run.id, place=folder_name)
        logged = logged.with_run(logged_run, problems)
        write(logged)


def _open_run(order: Order, result: Mapping[str, Any], arm: str) -> Any:
    """Begin a wandb run of its own for an arm."""
    import wandb

    # Settings come and go with wandb's versions; one that it does not know would be an error.
    allowed = type(wandb.Settings()).model_fields
    settings = {}
    for key, value in _SETTINGS.items():
        if key in allowed:
            settings[key] = value
    return wandb.init(
        mode="offline",
        dir=order.folder,
        id=f"{result['run_id']}-{arm}-{order.token}",
        project=order.project,
        entity=order.entity,
        group=order.group,
        job_type=arm,
        name=f"{order.name} {arm}",
        tags=list(order.tags),
        config=payload.config(result, arm),
        reinit="create_new",
        settings=wandb.Settings(**settings),
    )


def _log_history(run: Any, history: list[dict[str, Any]]) -> None:
    """Log an arm's trials, with their index as the x axis."""
    run.define_metric("trial/index")
    # Without `none`, wandb puts the values of the last trial into the summary, where they would be
    # taken for the result beside the medians.
    run.define_metric("trial/*", step_metric="trial/index", summary="none")
    for row in history:
        entry = {}
        for key, value in row.items():
            entry[f"trial/{key}"] = value
        run.log(entry)


def _log_extras(run: Any, folder: Path, result: Mapping[str, Any], problems: list[str]) -> None:
    """Log the comparison, the plots and the files; each may fail without costing the others."""
    _attempt("the comparison", lambda: _log_comparison(run, result), problems)
    for plot in sorted((folder / "plots").glob("*.png")):
        _attempt(f"plots/{plot.name}", lambda plot=plot: _log_plot(run, plot), problems)
    _attempt("the files of the result", lambda: _log_files(run, folder, result), problems)


def _log_comparison(run: Any, result: Mapping[str, Any]) -> None:
    import wandb

    rows: list[Any] = payload.comparison(result)
    if rows:
        table = wandb.Table(columns=list(payload.COMPARED), data=rows)
        run.log({"comparison": table})


def _log_plot(run: Any, path: Path) -> None:
    import wandb

    run.log({f"plots/{path.stem}": wandb.Image(str(path))})


def _log_files(run: Any, folder: Path, result: Mapping[str, Any]) -> None:
    """Log the run's files as an artifact, of which equal runs are versions."""
    import wandb

    artifact = wandb.Artifact(name=f"jaxgen-{result['run_id']}", type="result")
    for name in _FILES:
        path = folder / name
        if path.exists():
            artifact.add_file(str(path), name=name)
    run.log_artifact(artifact)


def _attempt(what: str, step: Callable[[], None], problems: list[str]) -> None:
    """Do a step. If it raises, the log has the traceback and the problems name it."""
    try:
        step()
    except Exception as error:  # whatever wandb raises must not cost the other steps
        traceback.print_exc()
        problems.append(f"{what} ({type(error).__name__}: {error})")


def server() -> str:
    """Return the address that wandb sends to: the environment's, the settings', or its own."""
    import wandb

    return wandb.setup().settings.base_url


def entity() -> str:
    """Return the entity of runs that name none: of the environment, the settings or the account."""
    import wandb

    api = wandb.Api()
    return api.settings["entity"] or api.default_entity or ""


def without_unneeded() -> None:
    """Keep wandb from importing what it does not need; called before its first import."""
    modules: dict[str, Any] = sys.modules
    # Importing a module that is None in this table raises ModuleNotFoundError.
    modules.update(dict.fromkeys(_UNNEEDED))


if __name__ == "__main__":
    without_unneeded()
    if sys.argv[1:]:
        main(Order(**json.loads(sys.argv[1])))
    else:
        print(server())
