"""What a terminal shows of a finished result, as lines that tests read."""

import io
import re

from rich.console import Console as Terminal

from jaxgen.console import summary
from support.small_runs import two_arms


def lines_of(result, *, arms=None):
    """Return the lines of a terminal of eighty columns."""
    terminal = Terminal(file=io.StringIO(), width=80, highlight=False, color_system=None)
    for part in summary.parts(arms or two_arms(), result):
        terminal.print(part)
    return [line.rstrip() for line in terminal.file.getvalue().splitlines()]


def row(lines, start):
    """Return the cells of the first line that begins so."""
    line = next(line for line in lines if line.startswith(start))
    return re.split(r"\s{2,}", line.strip())


def has(lines, start):
    """Whether any line begins so."""
    return any(line.startswith(start) for line in lines)
