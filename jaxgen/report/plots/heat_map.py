"""Sweeps and grids as a heat map: one setting across, the combinations of all others down."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgen.report.lookup import median_of
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.style import (
    ACCENT,
    ALERT,
    INK,
    MUTED,
    SMALL_PT,
    axes_of,
    shortened,
)
from jaxgen.report.points import Point, measured_soundly
from jaxgen.report.settings import as_overrides
from jaxgen.results import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "heat map"
_MOST_ROWS, _MOST_COLUMNS = 24, 10

Key = tuple[str, str | None]
"""A row and a column."""


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Points by row and column.

    Attributes:
        across: the setting whose values are the columns.
        settings: all that vary.
        columns: the values of `across`.
        rows: the combinations of the other settings.
        cells: the points; where several fall on one cell, the last.
        is_ratio: whether figures are ratios, and not medians.
    """

    across: str
    settings: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[str]
    cells: Mapping[Key, Point]
    is_ratio: bool

    @functools.cached_property
    def values(self) -> dict[Key, float]:
        """The figures of those cells that have one that may be told."""
        values = {}
        for key, point in self.cells.items():
            # An invalid point has figures, and they are not told.
            value = _value_of(point, is_ratio=self.is_ratio)
            if value is not None:
                values[key] = value
        return values


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw the setting with most values across, and all combinations of the others down.

    Args:
        points: those of the report.
        name: that of the plot's files.
    """
    grid = _grid_of(points)
    if isinstance(grid, str):
        return LeftOut(name, _SUBJECT, grid)
    hidden = len(points) - len(grid.cells)
    note = f"{hidden} points share a cell with a later one, which is shown." if hidden else None
    return Drawing(
        name,
        title=_title(grid, points),
        alt=_in_words(grid),
        put=lambda figure: _put(axes_of(figure, grid="none"), grid),
        height_in=0.85 + 0.32 * len(grid.rows),
        note=note,
    )


def _grid_of(points: Sequence[Point]) -> _Grid | str:
    """Return the points as a grid, or the reason why they are none."""
    settings = _varying_settings(points)
    # One setting alone is drawn by the scaling curves and the ratios.
    if len(settings) < 2:
        return "fewer than two settings vary"
    # A combination of several settings is too long for the head of a column.
    across = max(settings, key=lambda key: len(settings[key]))
    columns = settings[across]
    cells: dict[Key, Point] = {}
    rows: dict[str, None] = {}
    for point in points:
        row = _row_of(point, across)
        rows[row] = None
        column = point.settings.get(across)
        cells[row, column] = point
    # With more cells the figures in them could not be read.
    if len(rows) > _MOST_ROWS or len(columns) > _MOST_COLUMNS:
        return f"{len(rows)} x {len(columns)} cells are more than can be read; see the table"
    # Then each row or each column has one cell, and a bar would say the same.
    longer_side = max(len(rows), len(columns))
    if len(cells) == longer_side:
        return "the settings vary together, so that no two of them span a grid"
    grid = _Grid(
        across=across,
        settings=list(settings),
        columns=columns,
        rows=list(rows),
        cells=cells,
        is_ratio=any(point.ratio for point in points),
    )
    if not grid.values:
        return "no point has a figure that may be told"
    return grid


def _title(grid: _Grid, points: Sequence[Point]) -> str:
    values = grid.values.values()
    low = formatting.number(min(values), digits=3)
    high = formatting.number(max(values), digits=3)
    settings = " and ".join(grid.settings)
    if grid.is_ratio:
        return f"{settings}: the ratio to the baseline from {low} to {high}"
    metrics = []
    for point in points:
        if point.primary:
            metrics.append(point.primary)
    return f"{settings}: the median {metrics[0]} from {low} to {high}"


def _in_words(grid: _Grid) -> str:
    texts = []
    for key, point in grid.cells.items():
        row, column = key
        value = grid.values.get(key)
        figure = _text(value, point)
        texts.append(f"{row} {column}: {figure}")
    return "; ".join(texts) + "."


def _put(axes: "Axes", grid: _Grid) -> None:
    values = grid.values
    for row, below in enumerate(grid.rows):
        for column, beside in enumerate(grid.columns):
            key = (below, beside)
            value = values.get(key)
            if value is not None:
                _put_colour(axes, column, row, value, grid)
            axes.text(
                column,
                row,
                _text(value, grid.cells.get(key)),
                ha="center",
                va="center",
                color=MUTED if value is None else INK,
                fontsize=SMALL_PT,
            )
    column_names = [shortened(text, 14) for text in grid.columns]
    axes.set_xticks(range(len(grid.columns)), column_names)
    row_names = [shortened(text, 30) for text in grid.rows]
    axes.set_yticks(range(len(grid.rows)), row_names)
    axes.set_xlim(-0.5, len(grid.columns) - 0.5)
    axes.set_ylim(len(grid.rows) - 0.5, -0.5)
    axes.set_xlabel(shortened(grid.across))
    axes.spines["bottom"].set_visible(False)


def _put_colour(axes: "Axes", column: int, row: int, value: float, grid: _Grid) -> None:
    """Fill a cell; the depth says how far from equal it is, or how near the largest figure."""
    values = [value, *grid.values.values()]
    # As a logarithm, twice as fast and half as fast are equally far from equal.
    if grid.is_ratio:
        values = [abs(math.log(ratio)) for ratio in values]
    largest = max(values)
    depth = values[0] / largest if largest else 0.0
    axes.fill_between(
        [column - 0.48, column + 0.48],
        row - 0.46,
        row + 0.46,
        color=ALERT if grid.is_ratio and value < 1 else ACCENT,
        # At most half opaque: the figure in the cell must be read.
        alpha=0.04 + 0.46 * depth,
        linewidth=0,
    )


def _varying_settings(points: Sequence[Point]) -> dict[str, list[str]]:
    """Return each varying setting with its values, numbers in their order."""
    values: dict[str, dict[str, None]] = {}
    for point in points:
        for key, value in point.settings.items():
            values.setdefault(key, {}).setdefault(value)
    varying = {}
    for key, different in values.items():
        if len(different) < 2:
            continue
        varying[key] = sorted(different, key=_order)
    return varying


def _order(text: str) -> float:
    """Return what a value is sorted by; words keep the order in which they came, behind numbers."""
    try:
        return float(text)
    except ValueError:
        return math.inf


def _row_of(point: Point, across: str) -> str:
    others = dict(point.settings)
    others.pop(across, None)
    return as_overrides(others)


def _value_of(point: Point, *, is_ratio: bool) -> float | None:
    """Return a point's figure; None where there is none, or an unsound one."""
    if is_ratio:
        if point.ratio:
            return point.ratio["ratio"]
        return None
    if not measured_soundly(point):
        return None
    return median_of(point.arms["candidate"], point.primary)


def _text(value: float | None, point: Point | None) -> str:
    """Write a cell's figure, or why there is none."""
    if value is not None:
        return formatting.number(value, digits=3)
    if point is None:
        return "no result"
    failed = point.run.result["status"] == "failed"
    if failed:
        return "failed"
    return point.verdict or "no verdict"
