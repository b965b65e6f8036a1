"""The jobs of a command: its only run, or the points of a sweep, here or in a launcher's processes.

Hydra calls `Jobs` with the configuration of each job; `points` runs one of them.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.config.job import Job, points_of, this_job
from jaxgen.config.typed import split
from jaxgen.console.progress import terminal
from jaxgen.console.sweep_board import Board
from jaxgen.errors import ExitCode
from jaxgen.sweep import points
from jaxgen.sweep.table import Sweep


class Jobs:
    """What Hydra calls with each job's configuration.

    A launcher that starts processes of its own sends a copy into each of them: such a copy writes
    the row of its point into the sweep's folder, where the first process gathers them.

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
        # A copy in another process knows by this argument that it is one.
        return Jobs, (tuple(sys.argv),)

    def __call__(self, cfg: Any) -> int:
        """Run one job; whatever becomes of it, the others run.

        Returns:
            Its exit code.

        Raises:
            KeyboardInterrupt: the job was interrupted, which ends a sweep.
        """
        job = this_job()
        if self._command is not None:
            return points.run_in_launcher(cfg, job, self._command)
        if job.number is None:
            code = points.run_single(cfg, job.folder)
        else:
            code = self._run_point(cfg, job)
        self.codes.append(code)
        if code == ExitCode.INTERRUPTED and job.number is not None:
            self.close()
            folder = job.folder.parent
            _print_to_stderr(f"the same command with hydra.sweep.dir={folder} goes on from here")
            raise KeyboardInterrupt
        return code

    def close(self) -> None:
        """Take the board off the screen."""
        self._stack.close()
        self._board = None

    def gather(self, folder: Path) -> None:
        """Take in the rows of this command's jobs, if they ran in other processes."""
        if self.codes:
            return  # they ran in this one
        self.sweep.gather(folder, points_of(folder))
        self.codes += [row["exit_code"] for row in self.sweep.rows]

    def _run_point(self, cfg: Any, job: Job) -> int:
        if cfg.sweep.dry_run:
            # Nothing is shown while it goes on: the table at the end has it all.
            code, reason = points.dry_run_point(cfg, job)
            self.sweep.plan(job.overrides, job.folder, reason, code=code)
            return code
        level = cfg.console.level.name
        board = self._board_for(level, job.folder.parent)
        if board is not None:
            number = len(self.sweep.rows)
            settings = dict(map(split, job.overrides))
            board.begin(number, settings)
        end = points.run_point(cfg, job, board=board)
        self.sweep.add(job.overrides, job.folder, end)
        # Without a board, as in a log file, each point gets a line of its own.
        if board is not None:
            board.end(self.sweep.rows[-1])
        elif level != "quiet":
            _print_to_stderr(self.sweep.line())
        return end.code

    def _board_for(self, level: str, folder: Path) -> Board | None:
        """Return the board of the sweep, made at the first point; null where none is shown."""
        screen = terminal(stderr=True)
        # The board is redrawn in place: it needs a screen, and nothing else printed into it.
        on_screen = screen.is_terminal and terminal().is_terminal
        if self._board is None and level != "quiet" and on_screen:
            settings = []
            for overrides in points_of(folder):
                settings.append(dict(map(split, overrides)))
            board = Board(settings, screen)
            self._board = self._stack.enter_context(board)
        return self._board


def _print_to_stderr(text: str) -> None:
    terminal(stderr=True).print(text, markup=False, soft_wrap=True)
