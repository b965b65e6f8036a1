"""What the person at the terminal sees: progress while it runs, one table and one sentence when it is done."""

import contextlib
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
        self._out = Terminal(highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=Terminal(stderr=True),
            transient=True,
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


def _table(arms: Mapping[str, Arm], result: Mapping[str, Any]) -> Table:
    """One row per arm; of the choices only those that vary."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    varying = [
        group
        for group in arms["candidate"].choices
        if len({arm.choices.get(group) for arm in arms.values()}) > 1 and group != "baseline"
    ]
    metrics = list(result["arms"]["candidate"]["metrics"])
    for header in ("arm", *varying):
        table.add_column(header)
    for header in (*metrics, "ratio", "compiles"):
        table.add_column(header, justify="right")
    table.add_column("outputs")
    for name, arm in arms.items():
        facts = result["arms"][name]
        table.add_row(
            name,
            *(str(arm.choices.get(group)) for group in varying),
            *(_measured(facts["metrics"][metric]) for metric in metrics),
            _ratio(result) if name == "candidate" else "",
            _compiles(facts),
            _agreement(result) if name == "candidate" else "",
        )
    return table


def _measured(metric: Mapping[str, Any]) -> str:
    """Median and, where known, the standard deviation, in the unit a person would use."""
    if metric["median"] is None:
        return "-"
    scale, unit = (1e3, " ms") if metric["unit"] == "s" else (1.0, "")
    spread = f" ± {scale * metric['std']:.2g}" if metric["std"] is not None else ""
    return f"{scale * metric['median']:.4g}{spread}{unit}"


def _ratio(result: Mapping[str, Any]) -> str:
    comparison = next(iter(result["comparison"].values()), None)
    if comparison is None:
        return "-"
    interval = comparison["ci95"]
    span = f" [{interval[0]:.3g}, {interval[1]:.3g}]" if interval else ""
    return f"{comparison['ratio']:.3g}{span}"


def _compiles(facts: Mapping[str, Any]) -> str:
    events = facts["compile"]["events_per_trial"]
    return "-" if not events else f"{sum(events)} in {len(events)} trials"


def _agreement(result: Mapping[str, Any]) -> str:
    agreement = result["agreement"]
    return "-" if agreement is None else f"{agreement['status']} ({agreement['tokens_compared']} tokens)"
