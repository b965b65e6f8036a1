"""What the person at the terminal sees: progress while it runs, one table and one sentence when it is done."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from jaxgen import summary
from jaxgen.spec.arm import Arm
from jaxgen.spec.measure import Measure

_COLOURS = {
    "faster": "bold green",
    "slower": "bold red",
    "equivalent": "bold cyan",
    "inconclusive": "bold yellow",
    "invalid": "bold white on red",
}


class Console:
    """Progress on standard error, the outcome on standard output; a context manager.

    Args:
        arms: by name.
        folder: the run folder, named at the end.
    """

    def __init__(self, arms: Mapping[str, Arm], folder: Path):
        self._arms = arms
        self._folder = folder
        self._out = terminal()
        shown = terminal(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=shown,
            transient=True,
            disable=not shown.is_terminal,
            refresh_per_second=4,  # drawing takes processor time from the trials
        )
        self._trials: TaskID | None = None

    def __enter__(self) -> "Console":
        self._progress.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._progress.stop()

    @contextlib.contextmanager
    def stage(self, arm: str, text: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show one arm's step while it lasts; yields what to call with (stage, done, total)."""
        task = self._progress.add_task(f"{arm:<9} {text}", total=None, detail="")

        def advance(stage: str, done: int, total: int) -> None:
            self._progress.update(task, completed=done, total=total, detail=f"{stage} {done}/{total}")

        yield advance
        self._progress.update(task, completed=1, total=1, detail="done")

    def block(self, done: int, *, pairs: int, plan: Measure, process: int, case: int) -> None:
        """Show how many blocks are done, of at most how many."""
        if self._trials is None:
            self._trials = self._progress.add_task("trials", total=plan.blocks, detail="")
        where = f", processes {process + 1} of {plan.processes}" if plan.processes > 1 else ""
        where += f", case {case + 1}" if case else ""
        detail = f"block {done} of at most {plan.blocks}, {pairs} pairs each{where}"
        self._progress.update(self._trials, completed=done, detail=detail)

    def repetition(self, done: int, total: int, *, study: str) -> None:
        """Show how many measurements of a study are done."""
        if self._trials is None:
            self._trials = self._progress.add_task(study, total=total, detail="")
        self._progress.update(self._trials, completed=done, total=total, detail=f"{done} of {total} measurements")

    def summary(self, result: Mapping[str, Any]) -> None:
        """The tables, the notes, the verdict, the folder."""
        self._out.print(Group(*summary.parts(self._arms, result)))
        verdict = result["verdict"]
        if result["status"] == "failed":
            self._out.print(Text("the run failed; what was measured until then is kept", style="bold red"))
        elif verdict:
            style = _COLOURS[verdict]
            self._out.print(Text.assemble((f" {verdict} ", style), " ", result["verdict_reason"] or ""), soft_wrap=True)
        self._out.print(Text(str(self._folder), style="dim"), soft_wrap=True)


def terminal(*, stderr: bool = False) -> Terminal:
    """Standard output or error; with NO_COLOR, no escape codes at all."""
    terminal = Terminal(highlight=False, stderr=stderr)
    return Terminal(highlight=False, stderr=stderr, color_system=None) if terminal.no_color else terminal
