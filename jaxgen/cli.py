"""What every command of jaxgen has in common: a mistake is one line on standard error, and exit code 1."""

import argparse
import os
import sys
from typing import NoReturn

from jaxgen.errors import ExitCode, UserError


class Parser(argparse.ArgumentParser):
    """Argparse's own `error` prints the usage and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Raise it as the user's own."""
        raise UserError(f"{message}; see {self.prog} --help")


def refuse(error: UserError, label: str = "") -> ExitCode:
    """Say what is wrong; `label` says where."""
    print(f"error: {label}{' '.join(str(error).split())}", file=sys.stderr)
    return ExitCode.USER_ERROR


def unheard() -> ExitCode:
    """Whoever read our output has gone; the interpreter must not trip over that again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.USER_ERROR
