"""The jobs of a command: its only run, or the points of a sweep, in this process or, by a launcher, in others."""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.cli import refuse, unheard
from jaxgen.config.experiment import compose_experiment
from jaxgen.config.job import Job, points_of, this_job
from jaxgen.config.run_folder import remove_unused
from jaxgen.config.typed import split
from jaxgen.console.progress import terminal
from jaxgen.console.sweep_board import Board
from jaxgen.errors import ExitCode, UserError
from jaxgen.specs.experiment import Experiment
from jaxgen.sweep.table import Sweep, noted, planned, row_of


class Jobs:
    """What Hydra calls with each job's configuration.

    A launcher that starts processes of its own sends a copy into each of them: such a copy notes the row of its point
    in the sweep's folder, where the first process gathers them.

    Args:
        command: the command line, where this is such a copy.

    Attributes:
        sweep: the points that have ended.
        codes: the exit codes of all jobs so far.
    """

    def __init__(self, command: Sequence[str] | None = None):
        self.sweep = Sweep()
        self.codes: list[int] = []
        self._command = command
        self._board: Board | None = None
        self._stack = contextlib.ExitStack()

    def __reduce__(self):
        return Jobs, (tuple(sys.argv),)

    def __call__(self, cfg: Any) -> int:
        """One job; whatever becomes of it, the others run."""
        job = this_job()
        if self._command is not None:
            return _elsewhere(cfg, job, self._command)
        code = _alone(cfg, job.folder) if job.number is None else self._point(cfg, job)
        self.codes.append(code)
        if code == ExitCode.INTERRUPTED and job.number is not None:
            self.close()
            told = f"the same command with hydra.sweep.dir={job.folder.parent} goes on from here"
            terminal(stderr=True).print(told, markup=False, soft_wrap=True)
            raise KeyboardInterrupt  # ends a sweep too
        return code

    def close(self) -> None:
        """No board any more."""
        self._stack.close()
        self._board = None

    def gather(self, folder: Path) -> None:
        """Take in what the copies have noted, if this command's jobs ran in other processes."""
        if not self.codes:
            self.sweep.gather(folder, points_of(folder))
            self.codes += [row["exit_code"] for row in self.sweep.rows]

    def _point(self, cfg: Any, job: Job) -> int:
        if cfg.sweep.dry_run:  # whose table says it all
            code, reason = _looked_at(cfg, job)
            self.sweep.plan(job.overrides, job.folder, reason, code=code)
            return code
        level = cfg.console.level.name
        board = self._shown(level, job.folder.parent)
        if board is not None:
            board.begin(len(self.sweep.rows), dict(map(split, job.overrides)))
        code, reason, kept = _point(cfg, job, board=board)
        self.sweep.add(job.overrides, job.folder, code=code, reason=reason, kept=kept)
        if board is not None:
            board.end(self.sweep.rows[-1])
        elif level != "quiet":
            terminal(stderr=True).print(self.sweep.line(), markup=False, soft_wrap=True)
        return code

    def _shown(self, level: str, folder: Path) -> Board | None:
        """The sweep on the screen, if there is one: from the first point on."""
        screen = terminal(stderr=True)
        if (
            self._board is None
            and level != "quiet"
            and screen.is_terminal
            and terminal().is_terminal
        ):
            points = [dict(map(split, point)) for point in points_of(folder)]
            self._board = self._stack.enter_context(Board(points, screen))
        return self._board


def _alone(cfg: Any, folder: Path) -> int:
    """The one run of a command."""
    try:
        experiment = compose_experiment(cfg)
        if experiment.sweep.dry_run:
            raise UserError(
                "sweep.dry_run=true shows the points of a sweep, and this is none: give -m"
            )
    except UserError as error:
        remove_unused(folder)
        return refuse(error)
    return _measured(experiment, folder)[0]


def _looked_at(cfg: Any, job: Job) -> tuple[int, str]:
    """A point's exit code, if it is impossible, and why; or what would become of it."""
    from jaxgen.sweep.resume import standing

    try:
        experiment = compose_experiment(cfg)
    except UserError as error:
        return ExitCode.USER_ERROR, str(error)
    finally:
        remove_unused(job.folder)
    return ExitCode.OK, standing(experiment, job.folder).told(experiment.measure)


def _point(cfg: Any, job: Job, *, board: Board | None = None) -> tuple[int, str | None, bool]:
    """A point's exit code, why there is no result where there is none, and whether it was left as it was."""
    from jaxgen.sweep.resume import standing

    try:
        experiment = compose_experiment(cfg)
    except UserError as error:
        remove_unused(job.folder)
        return refuse(error, job.label), str(error), False
    found = standing(experiment, job.folder)
    if found.skip:
        return found.code, None, True
    return *_measured(experiment, job.folder, label=job.label, board=board), False


def _elsewhere(cfg: Any, job: Job, command: Sequence[str]) -> int:
    """A point in a launcher's process, of which Slurm may have started several: one model over all of them, or none."""
    tasks, rank = (
        int(os.environ.get(key, default))
        for key, default in (("SLURM_NTASKS", "1"), ("SLURM_PROCID", "0"))
    )
    together = cfg.mesh.get("processes") is not None
    if rank and (cfg.sweep.dry_run or not together):
        return ExitCode.OK  # the first one tells
    if cfg.sweep.dry_run:
        code, reason = _looked_at(cfg, job)
        noted(
            planned(job.overrides, job.folder, reason, number=job.number or 0, code=code),
            job.folder.parent,
        )
        return code
    sys.argv = list(command)  # for the result, which says how it was made
    if tasks > 1 and not together:
        why = (
            f"its job has {tasks} tasks: mesh.processes=auto spreads one model over them, else a run has one task "
            "(tasks_per_node=1 and nodes=1 in hydra.launcher)"
        )
        code, reason, kept = refuse(UserError(why), job.label), why, False
    else:
        code, reason, kept = _point(cfg, job)
    if rank:
        return code
    row = row_of(job.overrides, job.folder, number=job.number or 0, code=code, reason=reason)
    noted({**row, "kept": kept}, job.folder.parent)
    return code


def _measured(
    experiment: Experiment, folder: Path, *, label: str = "", board: Board | None = None
) -> tuple[int, str | None]:
    """The exit code of a run, and why there is no result, where there is none."""
    from jaxgen.experiment.execute import execute

    shown: dict[str, Any] = {} if board is None else {"board": board}
    try:
        code = execute(experiment, folder, **shown)
    except UserError as error:
        remove_unused(folder)
        return refuse(error, label), str(error)
    except BrokenPipeError:
        raise SystemExit(unheard()) from None
    except Exception as error:
        logging.getLogger(__name__).exception("the run ended with an error of jaxgen's own")
        traceback.print_exc()
        return ExitCode.USER_ERROR, f"{type(error).__name__}: {error}"
    remove_unused(folder)  # of a process that another one leads
    return code, None
