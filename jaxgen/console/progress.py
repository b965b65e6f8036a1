"""What the person at the terminal sees: progress while a run goes on, and its outcome at last."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from jaxgen.console import summary
from jaxgen.console.sweep_board import COLOURS, Board
from jaxgen.measure.schedule import share_of
from jaxgen.results import formatting
from jaxgen.results.schema import Result
from jaxgen.specs.console import Level
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Measure

_COMPILING = ("trace", "lower", "compile")


class Console:
    """Progress on standard error, the outcome on standard output; a context manager.

    Args:
        experiment: the one that runs.
        folder: the run folder, named at the end.
        board: of the sweep that the run is a point of; the progress goes below it, and the outcome
            into its row.
    """

    def __init__(self, experiment: Experiment, folder: Path, *, board: Board | None = None):
        self._arms = experiment.arms
        self._folder = folder
        self._board = board
        self._level = experiment.console.level
        if board is None:
            self._out = terminal()
            self._err = terminal(stderr=True)
        else:
            # Through the board's own terminal, so that lines appear above the table and not in it.
            self._out = board.screen
            self._err = board.screen
        is_shown = self._err.is_terminal and self._level is not Level.quiet
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not is_shown,
            refresh_per_second=4,  # drawing takes processor time from the trials
        )
        self._trials: TaskID | None = None

    def __enter__(self) -> "Console":
        if self._board is None:
            self._progress.start()
        else:
            self._board.show(self._progress)
        return self

    def __exit__(self, *_exception) -> None:
        # On a board, the sweep removes the progress when the job has ended.
        if self._board is None:
            self._progress.stop()

    @contextlib.contextmanager
    def stage(self, arm: str, text: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show one arm's step while it lasts.

        Args:
            arm: its name.
            text: what is done.

        Yields:
            A function of (stage, done, total), to be called as the step goes on.
        """
        description = f"{arm:<9} {text}"
        task = self._progress.add_task(description, total=None, detail="")
        begin = time.monotonic()

        def advance(stage: str, done: int, total: int) -> None:
            self._progress.update(
                task,
                completed=done,
                total=total,
                detail=f"{stage} {done}/{total}",
            )

        # How many steps there are is known only once the worker says so.
        yield advance
        # Not in a `finally`: a step that failed must not be shown as done.
        self._progress.update(task, completed=1, total=1, detail="done")
        seconds = formatting.seconds(time.monotonic() - begin)
        self._say(f"{description}: {seconds}")

    def compiled(self, arm: str, calls: Sequence[Mapping[str, Any]]) -> None:
        """Say what the calls of a warm-up compiled, to those who asked to hear it.

        Args:
            arm: its name.
            calls: what was watched of each call, in order.
        """
        for number, call in enumerate(calls, 1):
            total = formatting.seconds(call["seconds"])
            outcome = _events(call["events"], call["functions"])
            parts = []
            for part in _COMPILING:
                seconds = formatting.seconds(call[f"{part}_s"])
                parts.append(f"{part} {seconds}")
            what = f"{arm:<9} call {number} of the warm-up"
            times = ", ".join(parts)
            self._say(f"{what}: {total}, {outcome}; {times}")

    def trial(self, row: Mapping[str, Any]) -> None:
        """Say what a trial compiled, to those who asked to hear it.

        Args:
            row: the trial as it is recorded.
        """
        if not row["compile_events"]:
            return
        # People count from 1.
        block, pair = row["block"] + 1, row["pair"] + 1
        events = _events(row["compile_events"], row["functions"])
        what = f"{row['arm']:<9} trial in block {block}, pair {pair}"
        if row["void"]:
            events += ", so it is void"
        self._say(f"{what}: {events}")

    def block(self, done: int, *, pairs: int, plan: Measure, process: int, case: int) -> None:
        """Show how many blocks are done, of at most how many.

        Args:
            done: how many blocks of this case in these processes.
            pairs: how many each block has.
            plan: how the run is measured.
            process: the number of the processes, from 0.
            case: the number of the case, from 0.
        """
        most = share_of(plan, process).blocks
        if self._trials is None:
            self._trials = self._progress.add_task("trials", total=most, detail="")
        detail = f"block {done} of at most {most}"
        if pairs > 1:
            detail += f", {pairs} pairs each"
        if plan.num_processes > 1:
            detail += f", processes {process + 1} of {plan.num_processes}"
        if case:
            detail += f", case {case + 1}"
        # One bar serves all: it begins again with each case and each set of processes.
        self._progress.update(self._trials, completed=done, total=most, detail=detail)
        self._say(f"trials    {detail}")

    def repetition(self, done: int, total: int, *, study: str) -> None:
        """Show how many measurements of a study are done.

        Args:
            done: how many.
            total: how many there will be.
            study: its name.
        """
        if self._trials is None:
            self._trials = self._progress.add_task(
                study,
                total=total,
                detail="",
            )
        detail = f"{done} of {total} measurements"
        self._progress.update(
            self._trials,
            completed=done,
            total=total,
            detail=detail,
        )
        self._say(f"{study:<9} {detail}")

    def summary(self, result: Result) -> None:
        """Show the tables, the notes, the verdict and the folder.

        Args:
            result: of the run, finished or failed.
        """
        # A sweep's board has the outcome in its row; only who wants all of it gets the tables too.
        if self._board is not None and self._level is not Level.verbose:
            return
        if self._level is Level.quiet:
            parts = list(summary.brief(result))
        else:
            parts = list(summary.parts(self._arms, result))
        if parts:
            self._out.print(Group(*parts))
        self._print_outcome(result)
        # A path and a reason are copied from the terminal: they have no line breaks of ours.
        folder = Text(str(self._folder), style="dim")
        self._out.print(folder, soft_wrap=True)

    def _print_outcome(self, result: Result) -> None:
        """Show the verdict or the failure; a run may have neither."""
        if result["status"] == "failed":
            message = "the run failed; what was measured until then is kept"
            self._out.print(Text(message, style="bold red"))
            return
        verdict = result["verdict"]
        if verdict:
            label = (f" {verdict} ", COLOURS[verdict])
            reason = result["verdict_reason"] or ""
            self._out.print(Text.assemble(label, " ", reason), soft_wrap=True)

    def _say(self, text: str) -> None:
        if self._level is Level.verbose:
            # A name with brackets in it is no markup of rich's.
            self._err.print(text, markup=False, soft_wrap=True)


def terminal(*, stderr: bool = False) -> Terminal:
    """Return standard output or error as a terminal; with NO_COLOR, without any escape codes.

    Args:
        stderr: whether it is standard error.
    """
    # rich would colour every number; here colour is for verdicts.
    coloured = Terminal(highlight=False, stderr=stderr)
    # By NO_COLOR alone, rich still writes bold and dim.
    if coloured.no_color:
        return Terminal(highlight=False, stderr=stderr, color_system=None)
    return coloured


def _events(count: int, functions: Iterable[str]) -> str:
    """Write how many compile events there were, and of which functions: `2 compile events (f)`."""
    if not count:
        return "nothing compiled"
    names = sorted(functions)
    if not names:
        return f"{count} compile events"
    return f"{count} compile events ({', '.join(names)})"
