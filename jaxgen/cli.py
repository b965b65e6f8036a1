"""What every command of jaxgen has in common: how it ends, and how a mistake is shown."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from jaxgen.errors import ExitCode, UserError


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are the user's, like any other mistake.

    Argparse's own `error` prints the usage and exits with 2.
    """

    def error(self, message: str) -> NoReturn:
        """Raise the message as the user's own error."""
        raise UserError(f"{message}; see {self.prog} --help")


def run(command: Callable[[], int]) -> int:
    """Run a command, and turn whatever ends it early into an exit code.

    Args:
        command: does the work and returns its exit code.

    Returns:
        The command's exit code; 1 after a mistake of the user, which is shown as one line on
        standard error, and 130 after Ctrl-C.
    """
    try:
        code = command()
        # Output that nobody can read any more must fail here, where it is handled. Standard output
        # is None where whoever started us has closed it.
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except UserError as error:
        return print_error(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return broken_pipe()


def print_error(error: UserError, label: str = "") -> ExitCode:
    """Print one line that says what is wrong; `label` says where."""
    # Messages of libraries may have several lines; a script reads one.
    print(f"error: {label}{' '.join(str(error).split())}", file=sys.stderr)
    return ExitCode.USER_ERROR


def broken_pipe() -> ExitCode:
    """Return the exit code of a command whose reader has gone.

    Standard output leads nowhere from now on: the interpreter flushes it once more at exit, and
    would print a traceback.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.USER_ERROR
