"""The command `python -m jaxgen.report RUN_OR_SWEEP...`: pages and plots of finished runs; with `--list`, all runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxgen import cli
from jaxgen.errors import ExitCode, UserError

if TYPE_CHECKING:
    from jaxgen.report.writing import Written


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
    if options.list:
        _list(options)
        return ExitCode.OK
    if options.sync:
        return _sync(options)
    return _report(options)


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m jaxgen.report",
        description="Write report.md, report.html and plots/ of finished runs; or list them.",
        epilog="examples: python -m jaxgen.report runs/sweeps/2026-11-21/10-00-00 | "
        "python -m jaxgen.report --list runs --where cache=fixed --where verdict=faster",
        allow_abbrev=False,
    )
    what = "run folders, folders of runs (a sweep's) or result.json files; with --list one folder (default: runs)"
    parser.add_argument("paths", metavar="RUN_OR_SWEEP", nargs="*", help=what)
    home = "where to write (default: the folder of the one run or sweep; of several, report/ in the folder they share)"
    parser.add_argument("--out", metavar="DIR", type=Path, help=home)
    beside = (
        "the same report for wandb: report.wandb.json, and on the server once the runs are there"
    )
    parser.add_argument("--wandb", action="store_true", help=beside)
    parser.add_argument(
        "--sync",
        action="store_true",
        help="send what the runs logged to wandb offline, and no more",
    )
    parser.add_argument(
        "--list", action="store_true", help="a table of all runs in a folder and below it"
    )
    where = "only such runs, as verdict=faster, model=gpt2*, cache=fixed, baseline.cache=none, dtype.kv=bfloat16"
    parser.add_argument(
        "--where", metavar="KEY=VALUE", action="append", default=[], help=f"with --list: {where}"
    )
    return parser


def _report(options: argparse.Namespace) -> int:
    if options.where:
        raise UserError("--where filters the list of runs; add --list")
    if not options.paths:
        raise UserError(
            "nothing to report: give run folders, a sweep's folder or result.json files; --list shows runs"
        )
    from jaxgen.report.writing import write_report
    from jaxgen.tracking import publishing

    if options.wandb:
        publishing.require()
    written = write_report(options.paths, out=options.out)
    for each in written.unread:
        print(f"not shown: {each.name}: {each.reason}", file=sys.stderr)
    print(written.html)
    print(written.markdown)
    if written.plots:
        print(f"{written.plots[0].parent} ({len(written.plots)} plots, each as PNG and SVG)")
    for left in written.left_out:
        print(f"left out: {left.subject}: {left.reason}")
    return _publish(written) if options.wandb else ExitCode.OK


def _publish(written: "Written") -> int:
    """The report for wandb; 1 if it should have been saved there and was not."""
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
    """Every run's offline files to wandb; 1 if any could not be sent."""
    from jaxgen.tracking import State, sync

    if options.where or options.wandb or options.out is not None or not options.paths:
        raise UserError("--sync takes run folders, and none of --out, --wandb and --where")
    sent = [each for path in options.paths for each in sync(Path(path))]
    for each in sent:
        print(each)
    return ExitCode.USER_ERROR if any(each.state is State.offline for each in sent) else ExitCode.OK


def _list(options: argparse.Namespace) -> None:
    if options.out is not None or options.wandb or len(options.paths) > 1:
        raise UserError("--list takes one folder, and neither --out nor --wandb")
    from rich.console import Console

    from jaxgen.report import run_list
    from jaxgen.results.collection import Unread

    root = Path(*options.paths) if options.paths else Path("runs")
    filters = [run_list.Filter.parse(typed) for typed in options.where]
    every = run_list.find(root)
    found = run_list.filtered(every, filters)
    if filters:  # which may have passed, if only they could be read
        for each in every:
            if isinstance(each, Unread):
                print(f"not shown: {each.name}: {each.reason}", file=sys.stderr)
    if not found:
        print(f"no run in {root}{' passes' if filters else ''}", file=sys.stderr)
        return
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(
        run_list.table(found)
    )


if __name__ == "__main__":
    sys.exit(main())
