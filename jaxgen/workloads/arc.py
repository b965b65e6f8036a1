"""ARC tasks (Chollet, "On the Measure of Intelligence", arXiv:1911.01547) as prompts, and grids out of what is written.

A prompt shows every training pair and asks for the first test pair's output, digits for colours, as the embedded model
has seen grids in training:

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
        of: how many tasks were found; those that are too long are left out.
    """

    name: str
    expected: Grid
    of: int


def read_tasks(path: str) -> list[tuple[str, Task]]:
    """Every task of a folder, its subfolders included, or of one file: the prompt's text and the task, by name.

    Raises:
        UserError: there is none, or a file is no task; every such file is named.
    """
    place = Path(path)
    files = sorted(place.rglob("*.json")) if place.is_dir() else [place]
    if not place.exists():
        raise UserError(
            f"prompts.path={path} does not exist (relative paths start at {Path.cwd()})"
        )
    if not files:
        raise UserError(f"prompts.path={path} holds no .json file; ARC tasks are one file each")
    found, problems = [], []
    for file in files:
        try:
            train, test = _pairs(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            problems.append(f"{file.name} is no ARC task ({error})")
            continue
        found.append(
            (_prompt(train, test[0][0]), Task(file.stem, expected=test[0][1], of=len(files)))
        )
    if problems:
        raise UserError.collected(f"prompts.path={path}", problems)
    return found


def parse(text: str | None) -> Grid | None:
    """The grid that a text begins with: lines of single digits, blanks between them; null if it begins with none, or
    its rows differ in length.

    Example:
        >>> parse("1 2\\n3 4\\n\\ngrid")
        ((1, 2), (3, 4))
    """
    lines = [line.split() for line in (text or "").split("\n")]
    rows = list(
        itertools.takewhile(
            lambda cells: cells and all(len(c) == 1 and c in "0123456789" for c in cells), lines
        )
    )
    grid = tuple(tuple(map(int, cells)) for cells in rows)
    return grid if _is_grid(grid) else None


def marked(task: Task, text: str | None) -> dict[str, Any]:
    """What an answer is worth: `{task, grid, correct}`; the grid is null where none can be parsed."""
    grid = parse(text)
    return {
        "task": task.name,
        "grid": [list(row) for row in grid] if grid else None,
        "correct": grid == task.expected,
    }


def tally(rows: Sequence[dict[str, Any]], *, of: int) -> dict[str, int]:
    """`{asked, parsed, correct, left_out}` of marked rows."""
    return {
        "asked": len(rows),
        "parsed": sum(row["grid"] is not None for row in rows),
        "correct": sum(row["correct"] for row in rows),
        "left_out": of - len(rows),
    }


def _pairs(task: Any) -> tuple[list[tuple[Grid, Grid]], list[tuple[Grid, Grid]]]:
    if not isinstance(task, dict):
        raise ValueError("it is no object with train and test")
    parts = []
    for part in ("train", "test"):
        pairs = task.get(part)
        if not isinstance(pairs, list) or not pairs:
            raise ValueError(f"it has no list {part}")
        parts.append([(_grid(pair, "input"), _grid(pair, "output")) for pair in pairs])
    return parts[0], parts[1]


def _grid(pair: Any, side: str) -> Grid:
    rows = pair.get(side) if isinstance(pair, dict) else None
    cells = isinstance(rows, list) and all(isinstance(row, list) for row in rows)
    grid = tuple(map(tuple, rows)) if isinstance(rows, list) and cells else ()
    if not _is_grid(grid):
        raise ValueError(
            f"an {side} is no grid of digits with rows of one length, {LARGEST} by {LARGEST} at most"
        )
    return grid


def _is_grid(grid: tuple) -> bool:
    widths = {len(row) for row in grid}
    return (
        0 < len(grid) <= LARGEST
        and len(widths) == 1
        and 0 < min(widths) <= LARGEST
        and all(type(cell) is int and 0 <= cell <= 9 for row in grid for cell in row)
    )


def _prompt(train: Sequence[tuple[Grid, Grid]], test: Grid) -> str:
    shown = [f"grid\n{_rows(given)}answer\n{_rows(made)}\n" for given, made in train]
    return "".join([*shown, f"grid\n{_rows(test)}answer\n"])


def _rows(grid: Grid) -> str:
    return "".join(" ".join(map(str, row)) + "\n" for row in grid)
