"""ARC tasks as prompts, and grids out of outputs.

They are those of Chollet, "On the Measure of Intelligence", arXiv:1911.01547.

A prompt shows every training pair and asks for the first test pair's output, digits for colours, as
the embedded model has seen grids in training:

    grid
    0 7 7
    7 7 7
    answer
    7 7 0
    7 7 7

    grid
    ...
    answer
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError

Grid = tuple[tuple[int, ...], ...]

LARGEST = 30  # rows and columns, by the format's definition


@dataclasses.dataclass(frozen=True)
class Task:
    """What a prompt was made of.

    Attributes:
        name: of the file.
        expected: the output of its first test pair.
        num_tasks: how many tasks there were; those that are too long are left out.
    """

    name: str
    expected: Grid
    num_tasks: int


def read_tasks(path: str) -> list[tuple[str, Task]]:
    """Read every task of a folder, its subfolders included, or of one file.

    Args:
        path: of the folder or the file.

    Returns:
        The prompt's text and the task, in the order of the files' names.

    Raises:
        UserError: there is none, or a file is no task; every such file is named.
    """
    source = Path(path)
    if not source.exists():
        raise UserError(
            f"prompts.path={path} does not exist (relative paths start at {Path.cwd()})"
        )
    files = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    if not files:
        raise UserError(f"prompts.path={path} holds no .json file; ARC tasks are one file each")
    tasks, problems = [], []
    for file in files:
        try:
            train, test = _pairs(json.loads(file.read_text(encoding="utf-8")))
        # Collected, so that the user mends all files in one go.
        except (OSError, ValueError) as error:
            problems.append(f"{file.name} is no ARC task ({error})")
            continue
        # Of several test pairs the first alone is asked: one prompt, one output.
        test_input, expected = test[0]
        task = Task(
            file.stem,
            expected=expected,
            num_tasks=len(files),
        )
        tasks.append((_prompt(train, test_input), task))
    if problems:
        raise UserError.collected(f"prompts.path={path}", problems)
    return tasks


def parse(text: str | None) -> Grid | None:
    """Return the grid that a text begins with: lines of single digits, blanks between them.

    It is null if the text begins with none, or its rows differ in length.

    Example:
        >>> parse("1 2\\n3 4\\n\\ngrid")
        ((1, 2), (3, 4))
    """
    rows = []
    for line in (text or "").split("\n"):
        cells = line.split()
        if not cells or not all(len(cell) == 1 and cell in "0123456789" for cell in cells):
            break  # what follows the grid is another text
        rows.append(tuple(int(cell) for cell in cells))
    grid = tuple(rows)
    return grid if _is_grid(grid) else None


def graded(task: Task, text: str | None) -> dict[str, Any]:
    """Return `{task, grid, correct}` of an output; the grid is null where none can be parsed."""
    grid = parse(text)
    return {
        "task": task.name,
        "grid": [list(row) for row in grid] if grid else None,
        "correct": grid == task.expected,
    }


def tally(rows: Sequence[dict[str, Any]], *, num_tasks: int) -> dict[str, int]:
    """Return `{asked, parsed, correct, left_out}` of graded rows."""
    return {
        "asked": len(rows),
        "parsed": sum(row["grid"] is not None for row in rows),
        "correct": sum(row["correct"] for row in rows),
        "left_out": num_tasks - len(rows),
    }


def _pairs(
    task: Any,
) -> tuple[list[tuple[Grid, Grid]], list[tuple[Grid, Grid]]]:
    """The training pairs and the test pairs of a file."""
    if not isinstance(task, dict):
        raise ValueError("it is no object with train and test")
    parts = []
    for part in ("train", "test"):
        pairs = task.get(part)
        if not isinstance(pairs, list) or not pairs:
            raise ValueError(f"it has no list {part}")
        parts.append(
            [
                (
                    _grid(pair, "input"),
                    _grid(pair, "output"),
                )
                for pair in pairs
            ]
        )
    return parts[0], parts[1]


def _grid(pair: Any, side: str) -> Grid:
    """One side of a pair, checked."""
    rows = pair.get(side) if isinstance(pair, dict) else None
    # JSON may hold anything: only lists of lists are looked at further.
    grid: Grid = ()
    if isinstance(rows, list) and all(isinstance(row, list) for row in rows):
        grid = tuple(map(tuple, rows))
    if not _is_grid(grid):
        raise ValueError(
            f"an {side} is no grid of digits with rows of one length, {LARGEST} by {LARGEST} at "
            "most"
        )
    return grid


def _is_grid(grid: Grid) -> bool:
    """Whether it is a rectangle of digits within the format's limits."""
    widths = {len(row) for row in grid}
    if len(widths) != 1:
        return False
    (width,) = widths
    if not 0 < len(grid) <= LARGEST:
        return False
    if not 0 < width <= LARGEST:
        return False
    cells = itertools.chain.from_iterable(grid)
    # By type: JSON's true is an int to `isinstance`.
    return all(type(cell) is int and 0 <= cell <= 9 for cell in cells)


def _prompt(train: Sequence[tuple[Grid, Grid]], test_input: Grid) -> str:
    parts = []
    for grid, expected in train:
        parts.append(f"grid\n{_lines(grid)}answer\n{_lines(expected)}\n")
    # It ends where the output grid has to begin.
    parts.append(f"grid\n{_lines(test_input)}answer\n")
    return "".join(parts)


def _lines(grid: Grid) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in grid)
