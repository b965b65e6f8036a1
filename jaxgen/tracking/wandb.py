"""The child process that speaks wandb: it logs a finished run folder, offline, and notes what it has logged.

`python -m jaxgen.tracking.wandb ORDER`, started with a time limit and an environment that keeps all of wandb's files
below the run folder. Nothing here goes over the network; `wandb sync` sends the files. Without an order it prints
where to.
"""

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxgen.results.files import RESULT, SCORES, TRIALS
from jaxgen.tracking import payload
from jaxgen.tracking.log_state import Logged, Order, write

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
"""What wandb imports where it is installed, two seconds each, and makes no use of here."""

_FILES = (RESULT, TRIALS, SCORES)


def main(order: Order) -> None:
    """Log every arm of a run folder, one wandb run each."""
    result, trials = payload.read(Path(order.folder))
    logged = Logged(order=order, server=server(), runs=(), problems=())
    write(logged)
    for arm in result["arms"]:
        problems: list[str] = []
        run = _opened(order, result, arm)
        place = Path(run.settings.sync_dir).name
        try:
            _log(
                run, order, result, arm=arm, history=payload.history(trials, arm), problems=problems
            )
        finally:
            failed = result["status"] != "completed" or result["arms"][arm].get("failure")
            run.finish(exit_code=1 if failed else 0)
        logged = logged.with_run(arm, id=run.id, place=place, problems=problems)
        write(logged)


def _opened(order: Order, result: Mapping[str, Any], arm: str) -> Any:
    import wandb

    allowed = type(wandb.Settings()).model_fields
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
        settings=wandb.Settings(
            **{key: value for key, value in _SETTINGS.items() if key in allowed}
        ),
    )


def _log(
    run: Any,
    order: Order,
    result: Mapping[str, Any],
    *,
    arm: str,
    history: list[dict[str, Any]],
    problems: list[str],
) -> None:
    """The numbers first; then what may fail alone."""
    run.define_metric("trial/index")
    run.define_metric("trial/*", step_metric="trial/index", summary="none")
    for row in history:
        run.log({f"trial/{key}": value for key, value in row.items()})
    if arm == "candidate":
        folder = Path(order.folder)
        _attempt("the comparison", lambda: _log_comparison(run, result), problems)
        for plot in sorted((folder / "plots").glob("*.png")):
            _attempt(f"plots/{plot.name}", lambda plot=plot: _log_plot(run, plot), problems)
        _attempt("the files of the result", lambda: _log_files(run, folder, result), problems)
    run.summary.update(payload.summary(result, arm))


def _log_comparison(run: Any, result: Mapping[str, Any]) -> None:
    import wandb

    rows: list[Any] = payload.comparison(result)
    if rows:
        run.log({"comparison": wandb.Table(columns=list(payload.COMPARED), data=rows)})


def _log_plot(run: Any, path: Path) -> None:
    import wandb

    run.log({f"plots/{path.stem}": wandb.Image(str(path))})


def _log_files(run: Any, folder: Path, result: Mapping[str, Any]) -> None:
    """Equal runs are versions of one artifact."""
    import wandb

    artifact = wandb.Artifact(name=f"jaxgen-{result['run_id']}", type="result")
    for name in _FILES:
        if (folder / name).exists():
            artifact.add_file(str(folder / name), name=name)
    run.log_artifact(artifact)


def _attempt(what: str, step: Callable[[], None], problems: list[str]) -> None:
    """Whatever a part of wandb raises must not cost the others their place; the log has it, and the note names it."""
    try:
        step()
    except Exception as error:
        traceback.print_exc()
        problems.append(f"{what} ({type(error).__name__}: {error})")


def server() -> str:
    """The address that wandb sends to: the environment's, the user's settings', or its own."""
    import wandb

    return wandb.setup().settings.base_url


def entity() -> str:
    """Whose runs they are that name no entity: as the environment or the user's settings say, or the account's own."""
    import wandb

    api = wandb.Api()
    return api.settings["entity"] or api.default_entity or ""


def without_unneeded() -> None:
    """To be called before the first import of wandb in a process of its own."""
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(_UNNEEDED))  # to import what is None raises ModuleNotFoundError


if __name__ == "__main__":
    without_unneeded()
    if sys.argv[1:]:
        main(Order(**json.loads(sys.argv[1])))
    else:
        print(server())
