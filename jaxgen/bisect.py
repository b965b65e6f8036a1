"""`python -m jaxgen.bisect GOOD BAD [OVERRIDES...]`: which commit of jaxgen made it slower.

It is `git bisect` with a measurement at every step: the commit's code and the good commit's, in
pairs, each in a worker of its own. What was measured is kept: the same command goes on from there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxgen import cli
from jaxgen.errors import ExitCode, UserError

_OWN_KEYS = ("baseline", "gate", "process.source", "study", "hydra.")
"""Beginnings of overrides that the steps set themselves."""

_EPILOG = (
    "example: python -m jaxgen.bisect v0.1.0 HEAD cache=fixed measure=thorough | exit codes: "
    "0 found, 1 cannot be done as asked, 20 not settled, 130 after Ctrl-C"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; null takes the process's own.

    Returns:
        The exit code.
    """
    return cli.run(lambda: _answer(argv))


def _answer(argv: Sequence[str] | None) -> ExitCode:
    options = _parser().parse_intermixed_args(argv)
    for override in options.overrides:
        if override.startswith(_OWN_KEYS):
            raise UserError(
                f"{override} cannot be set here: each step compares a commit with GOOD, "
                "all else equal"
            )
        if "=" not in override:
            raise UserError(f"{override} is no KEY=VALUE; see python -m jaxgen.bisect --help")
    # Late: help and mistakes need neither Hydra nor git.
    from jaxgen.sweep import bisect_runs

    return bisect_runs.run(
        options.good,
        options.bad,
        overrides=options.overrides,
        out=options.out,
        limit_s=60 * options.max_minutes,
    )


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m jaxgen.bisect",
        description="Find the commit of this repository that made a run slower.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("good", metavar="GOOD", help="a commit that is as fast as it should be")
    parser.add_argument("bad", metavar="BAD", help="a later commit that is slower")
    parser.add_argument(
        "overrides",
        metavar="OVERRIDE",
        nargs="*",
        default=[],
        help="what is measured, as for python -m jaxgen; both commits get the same",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="of the runs (default: one below runs/bisect)"
    )
    parser.add_argument(
        "--max-minutes",
        metavar="N",
        type=float,
        default=120.0,
        help="no measurement begins later than this (default: 120)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
