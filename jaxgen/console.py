"""What the person at the terminal sees: progress while it runs, one table and one sentence when it is done."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console as Terminal
from rich.console import Group
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

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
        self._out = _terminal()
        shown = _terminal(stderr=True)
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

    def trial(self, arm: str, *, block: int, pair: int, pairs: int, plan: Measure) -> None:
        """Show where the trials are."""
        if self._trials is None:
            self._trials = self._progress.add_task("trials", total=plan.blocks * pairs, detail="")
        detail = f"block {block + 1} of at most {plan.blocks}, pair {pair + 1} of {pairs}, {arm}"
        self._progress.update(self._trials, completed=block * pairs + pair, detail=detail)

    def summary(self, result: Mapping[str, Any]) -> None:
        """The table of arms, the notes, the verdict, the folder."""
        parts = [_table(self._arms, result)]
        parts += [Text(f"note: {note}", style="yellow") for note in result["notes"]]
        self._out.print(Group(*parts))
        verdict = result["verdict"]
        if verdict:
            style = _COLOURS[verdict]
            self._out.print(Text.assemble((f" {verdict} ", style), " ", result["verdict_reason"]), soft_wrap=True)
        elif result["status"] == "failed":
            self._out.print(Text("the run failed; what was measured until then is kept", style="bold red"))
        self._out.print(Text(str(self._folder), style="dim"), soft_wrap=True)


def _terminal(*, stderr: bool = False) -> Terminal:
    """Standard output or error; with NO_COLOR, no escape codes at all."""
    terminal = Terminal(highlight=False, stderr=stderr)
    return Terminal(highlight=False, stderr=stderr, color_system=None) if terminal.no_color else terminal


def _table(arms: Mapping[str, Arm], result: Mapping[str, Any]) -> Table:
    """One column per arm; of the choices only those that vary."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("")
    for name in arms:
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    first, *rest = arms.values()
    for group, option in first.choices.items():
        if group != "baseline" and any(arm.choices.get(group) != option for arm in rest):
            table.add_row(group, *(str(arm.choices.get(group)) for arm in arms.values()))
    facts = [result["arms"][name] for name in arms]
    for metric, block in facts[0]["metrics"].items():
        cells = [_measured(each["metrics"][metric]) for each in facts if metric in each["metrics"]]
        table.add_row(_heading(metric, block), *cells, _ratio(result["comparison"].get(metric)))
    table.add_row("compiles in trials", *(_compiles(each) for each in facts))
    table.add_row("compile + warm-up", *(_seconds(each["startup"]["warmup_s"]) for each in facts))
    if result["agreement"] is not None:
        table.add_row("outputs", f"{result['agreement']['status']} ({result['agreement']['tokens_compared']} tokens)")
    return table


def _heading(metric: str, block: Mapping[str, Any]) -> str:
    return metric.removesuffix("_s") + ", ms" if block["unit"] == "s" else f"{metric.replace('_per_s', '')}/s"


def _measured(metric: Mapping[str, Any]) -> str:
    """Median and, where known, the standard deviation; seconds as milliseconds."""
    if metric["median"] is None:
        return "-"
    scale = 1e3 if metric["unit"] == "s" else 1.0
    spread = f" ± {_number(scale * metric['std'], digits=2)}" if metric["std"] is not None else ""
    return f"{_number(scale * metric['median'], digits=4)}{spread}"


def _ratio(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return ""
    interval = comparison["ci95"]
    span = f" [{', '.join(_number(end, digits=3) for end in interval)}]" if interval else ""
    return f"{_number(comparison['ratio'], digits=3)}{span}"


def _number(value: float, *, digits: int) -> str:
    """So many significant digits, never an exponent: 12.3, 1234, 0.0123."""
    before = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{max(digits - before, 0)}f}"


def _compiles(facts: Mapping[str, Any]) -> str:
    events = facts["compile"]["events_per_trial"]
    return "-" if not events else f"{sum(events)} in {len(events)}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
