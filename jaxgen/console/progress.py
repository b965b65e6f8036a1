"""What the person at the terminal sees: progress while it runs, one table and one sentence when it is done."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from jaxgen.console import summary
from jaxgen.console.sweep_board import COLOURS, Board
from jaxgen.results import formatting
from jaxgen.specs.console import Level
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Measure


class Console:
    """Progress on standard error, the outcome on standard output; a context manager.

    Args:
        experiment: the one that runs.
        folder: the run folder, named at the end.
        board: of the sweep that the run is a point of; the progress goes below it, and the outcome into its row.
    """

    def __init__(self, experiment: Experiment, folder: Path, *, board: Board | None = None):
        self._arms = experiment.arms
        self._folder = folder
        self._board = board
        self._level = experiment.console.level
        self._out = terminal() if board is None else board.screen
        self._err = terminal(stderr=True) if board is None else board.screen
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._err,
            transient=True,
            disable=not self._err.is_terminal or self._level is Level.quiet,
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
        if self._board is None:
            self._progress.stop()

    @contextlib.contextmanager
    def stage(self, arm: str, text: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show one arm's step while it lasts; yields what to call with (stage, done, total)."""
        task = self._progress.add_task(f"{arm:<9} {text}", total=None, detail="")
        begin = time.monotonic()

        def advance(stage: str, done: int, total: int) -> None:
            self._progress.update(
                task, completed=done, total=total, detail=f"{stage} {done}/{total}"
            )

        yield advance
        self._progress.update(task, completed=1, total=1, detail="done")
        self._say(f"{arm:<9} {text}: {formatting.seconds(time.monotonic() - begin)}")

    def compiled(self, arm: str, calls: Sequence[Mapping[str, Any]]) -> None:
        """What the calls of a warm-up compiled, for those who asked to hear it."""
        for number, call in enumerate(calls, 1):
            parts = ", ".join(
                f"{part} {formatting.seconds(call[f'{part}_s'])}"
                for part in ("trace", "lower", "compile")
            )
            told = (
                f"{call['events']} compile events{_names(call)}"
                if call["events"]
                else "nothing compiled"
            )
            self._say(
                f"{arm:<9} call {number} of the warm-up: {formatting.seconds(call['seconds'])}, {told}; {parts}"
            )

    def trial(self, row: Mapping[str, Any]) -> None:
        """What a trial compiled, for those who asked to hear it."""
        if row["compile_events"]:
            void = ", so it is void" if row["void"] else ""
            place = f"block {row['block'] + 1}, pair {row['pair'] + 1}"
            self._say(
                f"{row['arm']:<9} trial in {place}: {row['compile_events']} compile events{_names(row)}{void}"
            )

    def block(self, done: int, *, pairs: int, plan: Measure, process: int, case: int) -> None:
        """Show how many blocks are done, of at most how many."""
        if self._trials is None:
            self._trials = self._progress.add_task("trials", total=plan.blocks, detail="")
        where = f", processes {process + 1} of {plan.processes}" if plan.processes > 1 else ""
        where += f", case {case + 1}" if case else ""
        detail = f"block {done} of at most {plan.blocks}, {pairs} pairs each{where}"
        self._progress.update(self._trials, completed=done, detail=detail)
        self._say(f"trials    {detail}")

    def repetition(self, done: int, total: int, *, study: str) -> None:
        """Show how many measurements of a study are done."""
        if self._trials is None:
            self._trials = self._progress.add_task(study, total=total, detail="")
        detail = f"{done} of {total} measurements"
        self._progress.update(self._trials, completed=done, total=total, detail=detail)
        self._say(f"{study:<9} {detail}")

    def summary(self, result: Mapping[str, Any]) -> None:
        """The tables, the notes, the verdict, the folder; below a sweep's board nothing, unless all is asked for."""
        if self._board is not None and self._level is not Level.verbose:
            return
        parts = list(
            summary.brief(result)
            if self._level is Level.quiet
            else summary.parts(self._arms, result)
        )
        if parts:
            self._out.print(Group(*parts))
        verdict = result["verdict"]
        if result["status"] == "failed":
            self._out.print(
                Text("the run failed; what was measured until then is kept", style="bold red")
            )
        elif verdict:
            style = COLOURS[verdict]
            self._out.print(
                Text.assemble((f" {verdict} ", style), " ", result["verdict_reason"] or ""),
                soft_wrap=True,
            )
        self._out.print(Text(str(self._folder), style="dim"), soft_wrap=True)

    def _say(self, text: str) -> None:
        if self._level is Level.verbose:
            self._err.print(text, markup=False, soft_wrap=True)


def terminal(*, stderr: bool = False) -> Terminal:
    """Standard output or error; with NO_COLOR, no escape codes at all."""
    terminal = Terminal(highlight=False, stderr=stderr)
    return (
        Terminal(highlight=False, stderr=stderr, color_system=None)
        if terminal.no_color
        else terminal
    )


def _names(told: Mapping[str, Any]) -> str:
    """The functions that were compiled, in brackets."""
    names = sorted(told["functions"])
    return f" ({', '.join(names)})" if names else ""
