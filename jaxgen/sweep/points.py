"""One job from its configuration to its exit code: composed, perhaps skipped, and measured."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.cli import broken_pipe, print_error
from jaxgen.config.experiment import compose_experiment
from jaxgen.config.job import Job
from jaxgen.config.run_folder import remove_unused
from jaxgen.console.sweep_board import Board
from jaxgen.errors import ExitCode, UserError
from jaxgen.specs.experiment import Experiment
from jaxgen.sweep.rows import PointEnd, measured_row, planned_row, write_row


def run_single(cfg: Any, folder: Path) -> int:
    """Run the only job of a command; return its exit code."""
    try:
        experiment = compose_experiment(cfg)
        if experiment.sweep.dry_run:
            raise UserError(
                "sweep.dry_run=true shows the points of a sweep, and this is none: give -m"
            )
    except UserError as error:
        remove_unused(folder)
        return print_error(error)
    return _measure(experiment, folder).code


def run_point(cfg: Any, job: Job, *, board: Board | None = None) -> PointEnd:
    """Run a point of a sweep, unless an earlier sweep in the same folder has done so.

    Args:
        cfg: as Hydra composed it.
        job: its folder, number and overrides.
        board: shows the sweep; null where none is shown.
    """
    # The experiment's modules are imported late: a command that only shows help needs none.
    from jaxgen.sweep.resume import decide

    try:
        experiment = compose_experiment(cfg)
    except UserError as error:
        remove_unused(job.folder)
        return PointEnd(print_error(error, job.label), reason=str(error))
    decision = decide(experiment, job.folder)
    if decision.skip:
        return PointEnd(decision.code, from_before=True)
    return _measure(experiment, job.folder, label=job.label, board=board)


def dry_run_point(cfg: Any, job: Job) -> tuple[int, str]:
    """Say what would become of a point.

    Returns:
        1 and the reason where it is impossible; else 0, and whether and how long it would run.
    """
    from jaxgen.sweep.resume import decide

    try:
        experiment = compose_experiment(cfg)
    except UserError as error:
        return ExitCode.USER_ERROR, str(error)
    finally:
        remove_unused(job.folder)
    decision = decide(experiment, job.folder)
    return ExitCode.OK, decision.describe(experiment.measure)


def run_in_launcher(cfg: Any, job: Job, command: Sequence[str]) -> int:
    """Run a point in a launcher's process, and write its row for the process that gathers them.

    Slurm may have started several processes for the point: they share one model, or there may be
    only one.

    Args:
        cfg: as Hydra composed it.
        job: its folder, number and overrides.
        command: the command line of the sweep.
    """
    # A launcher without Slurm sets neither, and has one process for a point.
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    rank = int(os.environ.get("SLURM_PROCID", "0"))
    share_a_model = cfg.mesh.get("processes") is not None
    number = job.number or 0
    if rank and (cfg.sweep.dry_run or not share_a_model):
        return ExitCode.OK  # the first of the processes tells
    if cfg.sweep.dry_run:
        code, reason = dry_run_point(cfg, job)
        row = planned_row(job.overrides, job.folder, reason, number=number, code=code)
        write_row(row, job.folder.parent)
        return code
    sys.argv = list(command)  # for the result, which records how it was made
    if tasks > 1 and not share_a_model:
        why = (
            f"its job has {tasks} tasks: mesh.processes=auto spreads one model over them, "
            "else a run has one task (tasks_per_node=1 and nodes=1 in hydra.launcher)"
        )
        end = PointEnd(print_error(UserError(why), job.label), reason=why)
    else:
        end = run_point(cfg, job)
    if not rank:
        write_row(measured_row(job.overrides, job.folder, end, number=number), job.folder.parent)
    return end.code


def _measure(
    experiment: Experiment, folder: Path, *, label: str = "", board: Board | None = None
) -> PointEnd:
    """Measure, and turn an error into an exit code; `label` says whose error it is."""
    from jaxgen.experiment.execute import execute

    shown: dict[str, Any] = {} if board is None else {"board": board}
    try:
        code = execute(experiment, folder, **shown)
    except UserError as error:
        remove_unused(folder)
        return PointEnd(print_error(error, label), reason=str(error))
    except BrokenPipeError:
        # Nobody reads our output any more: the whole sweep ends, not this point alone.
        raise SystemExit(broken_pipe()) from None
    except Exception as error:
        # An error of jaxgen's own ends this point, and must not hide behind one line.
        logging.getLogger(__name__).exception("the run ended with an error of jaxgen's own")
        traceback.print_exc()
        return PointEnd(ExitCode.USER_ERROR, reason=f"{type(error).__name__}: {error}")
    # In a job of several processes, all but one leave their folder empty.
    remove_unused(folder)
    return PointEnd(code)
