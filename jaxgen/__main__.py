"""The command line `python -m jaxgen`: its flags, and what needs no Hydra."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import jaxgen
from jaxgen import cli
from jaxgen.errors import ExitCode, UserError

_HINT = "see python -m jaxgen --help"

_SWITCHES = (
    ("-h", "help"),
    ("-m", "multirun"),
    ("-r", "run"),
    ("-sc", "shell-completion"),
)
_LONG_SWITCHES = ("version", "hydra-help", "resolve")
_WITH_A_VALUE = (("-p", "package"), ("-cn", "config-name"), ("-cd", "config-dir"))
_CONFIGURATIONS = ["job", "hydra", "all"]
_FACTS = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
"""What `--cfg` and `--info` of Hydra can show."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; null takes the process's own.

    Returns:
        The exit code; in a sweep the worst of the jobs'.
    """
    words = sys.argv[1:] if argv is None else argv
    return cli.run(lambda: _answer(words))


def _answer(argv: Sequence[str]) -> int:
    flags, overrides = _read_flags(argv)
    # Hydra takes half a second to import: what needs none of it is answered first.
    # `help` and `version` are taken out of the flags: what is left goes on to Hydra.
    if flags.pop("help"):
        from jaxgen.config.help import help_text

        print(help_text())
        return ExitCode.OK
    if flags.pop("version"):
        print(f"jaxgen {jaxgen.__version__}")
        return ExitCode.OK
    from jaxgen.sweep.application import run_with_hydra

    return run_with_hydra(flags, overrides)


def _read_flags(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Take the flags, which may stand anywhere, from the overrides.

    Raises:
        UserError: there is no such flag.
    """
    try:
        namespace, rest = _parser().parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; {_HINT}") from error
    # No override begins with a dash, so that it must be a misspelt flag.
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        raise UserError(
            f"there is no flag {' '.join(unknown)}; "
            f"keys are given as KEY=VALUE, without dashes; {_HINT}"
        )
    return vars(namespace), rest


def _parser() -> argparse.ArgumentParser:
    """Make a parser of Hydra's flags: its own would end the process with another exit code."""
    # Without abbreviations a misspelt flag is refused instead of guessed at.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for short, name in _SWITCHES:
        parser.add_argument(short, f"--{name}", action="store_true")
    for name in _LONG_SWITCHES:
        parser.add_argument(f"--{name}", action="store_true")
    for short, name in _WITH_A_VALUE:
        parser.add_argument(short, f"--{name}")
    parser.add_argument("-c", "--cfg", choices=_CONFIGURATIONS)
    parser.add_argument("-i", "--info", nargs="?", const="all", choices=_FACTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
