"""The command `python -m jaxgen.report RUN_OR_SWEEP...`: report finished runs, list all runs,
or show their history."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxgen import cli
from jaxgen.errors import ExitCode, UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jaxgen.report.writing import Written
    from jaxgen.results.collection import StoredRun, Unread

_EPILOG = (
    "examples: python -m jaxgen.report runs/sweeps/2026-11-21/10-00-00 | "
    "python -m jaxgen.report --list runs --where cache=fixed --where verdict=faster"
)
_HELP = {
    "paths": "run folders, folders of runs (a sweep's) or result.json files; "
    "with --list and --history one folder (default: runs)",
    "out": "where to write (default: the folder of the one run or sweep; "
    "of several, report/ in the folder they share)",
    "wandb": "the same report for wandb: report.wandb.json, "
    "and on the server once the runs are there",
    "sync": "send what the runs logged to wandb offline, and no more",
    "list": "a table of all runs in a folder and below it",
    "history": "the ratio of each question over time with its steps: tables, and history.html",
    "where": "with --list or --history: only such runs, as verdict=faster, model=gpt2*, "
    "cache=fixed, baseline.cache=none, dtype.kv=bfloat16",
}
_PIPE_COLUMNS = 200
"""How wide the list is where no terminal says how wide it may be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; null takes the process's own.

    Returns:
        The exit code: 0, 1 for what the user can fix (one line on stderr), 130 after Ctrl-C.
    """
    return cli.run(lambda: _answer(argv))


def _answer(argv: Sequence[str] | None) -> int:
    options = _parser().parse_args(argv)
    if options.list or options.history:
        if options.history:
            _history(options)
        else:
            _list(options)
        return ExitCode.OK
    if options.sync:
        return _sync(options)
    return _report(options)


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m jaxgen.report",
        description="Write report.md, report.html and plots/ of finished runs; or list them.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("paths", metavar="RUN_OR_SWEEP", nargs="*", help=_HELP["paths"])
    parser.add_argument("--out", metavar="DIR", type=Path, help=_HELP["out"])
    for flag in ("wandb", "sync", "list", "history"):
        parser.add_argument(f"--{flag}", action="store_true", help=_HELP[flag])
    parser.add_argument(
        "--where", metavar="KEY=VALUE", action="append", default=[], help=_HELP["where"]
    )
    return parser


def _report(options: argparse.Namespace) -> int:
    """Write a report and say where it lies."""
    if options.where:
        raise UserError("--where filters the list of runs; add --list or --history")
    if not options.paths:
        raise UserError(
            "nothing to report: give run folders, a sweep's folder or result.json files; "
            "--list shows runs"
        )
    # Late, so that a mistyped command and the list of runs need not wait for the plots.
    from jaxgen.report.writing import write_report
    from jaxgen.tracking import publishing

    # What is missing for wandb is said before a minute of drawing, not after it.
    if options.wandb:
        publishing.require()
    written = write_report(options.paths, out=options.out)
    for run in written.unread:
        print(f"not shown: {run.name}: {run.reason}", file=sys.stderr)
    print(written.html)
    print(written.markdown)
    if written.plots:
        print(f"{written.plots[0].parent} ({len(written.plots)} plots, each as PNG and SVG)")
    for plot in written.left_out:
        print(f"left out: {plot.subject}: {plot.reason}")
    if options.wandb:
        return _publish(written)
    return ExitCode.OK


def _publish(written: "Written") -> int:
    """Give the report to wandb; return 1 if it should have been saved there and was not."""
    from jaxgen.report.wandb_sheet import sheet_of
    from jaxgen.tracking import publishing

    folders = [part.run.folder for part in written.page.runs]
    published = publishing.publish(sheet_of(written.page), folders, home=written.html.parent)
    print(published.spec)
    if published.problem is not None:
        print(f"error: wandb: {published.problem}; {published.later}", file=sys.stderr)
        return ExitCode.USER_ERROR
    print(published.url or f"wandb: {published.later}")
    return ExitCode.OK


def _sync(options: argparse.Namespace) -> int:
    """Send every run's offline files to wandb; return 1 if any could not be sent."""
    from jaxgen.tracking import State, sync

    if options.where or options.wandb or options.out is not None or not options.paths:
        raise UserError("--sync takes run folders, and none of --out, --wandb and --where")
    sent = [run for path in options.paths for run in sync(Path(path))]
    for run in sent:
        print(run)
    # A script that sends must see by the exit code that something is left.
    remain = any(run.state is State.offline for run in sent)
    if remain:
        return ExitCode.USER_ERROR
    return ExitCode.OK


def _list(options: argparse.Namespace) -> None:
    """Print the table of all runs that pass the filters."""
    if options.out is not None or options.wandb or len(options.paths) > 1:
        raise UserError("--list takes one folder, and neither --out nor --wandb")
    from jaxgen.report import run_list

    runs, unread = _found(options)
    if runs or unread:
        _print(run_list.table(runs, unread))


def _history(options: argparse.Namespace) -> None:
    """Print the history of each question, and write it as a page."""
    if options.wandb or options.sync or options.list or len(options.paths) > 1:
        raise UserError("--history takes one folder, and none of --list, --sync and --wandb")
    from jaxgen.report import history, history_page

    runs, unread = _found(options)
    for run in unread:
        print(f"not shown: {run.name}: {run.reason}", file=sys.stderr)
    if not runs:
        return
    histories, notes = history.series_of(runs)
    _print(*history_page.terminal_parts(histories, notes))
    if not histories:
        print("no question was measured twice: there is no history yet", file=sys.stderr)
        return
    root = _root_of(options)
    print(history_page.write(histories, notes, root=root, folder=options.out or root))


def _root_of(options: argparse.Namespace) -> Path:
    return Path(*options.paths) if options.paths else Path("runs")


def _found(options: argparse.Namespace) -> tuple[list["StoredRun"], list["Unread"]]:
    """Find the runs that pass the filters, and those that cannot be read where there is none."""
    from jaxgen.report import run_list
    from jaxgen.report.run_filters import Filter, passing

    root = _root_of(options)
    filters = [Filter.parse(text) for text in options.where]
    runs, unread = run_list.find(root)
    if filters:
        runs = passing(runs, filters)
        # They may have passed, if only they could be read.
        for run in unread:
            print(f"not shown: {run.name}: {run.reason}", file=sys.stderr)
        unread = []
    if not runs and not unread:
        print(f"no run in {root}{' passes' if filters else ''}", file=sys.stderr)
    return runs, unread


def _print(*parts: "RenderableType") -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_COLUMNS
    console = Console(highlight=False, width=width)
    for part in parts:
        console.print(part)


if __name__ == "__main__":
    sys.exit(main())
