"""Sweeps and grids as a heat map: one setting across, the combinations of all others down."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgen.report.plots.drawing import (
    ACCENT,
    ALERT,
    INK,
    MUTED,
    SMALL_PT,
    Drawing,
    LeftOut,
    axes_of,
    shortened,
)
from jaxgen.report.points import Point, measured_soundly, median_of
from jaxgen.results import formatting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_ROWS, _MOST_COLUMNS = 24, 10


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Cells by (row, column), and what is told of each; None where that may not be told."""

    across: str
    settings: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[str]
    cells: Mapping[tuple[str, str | None], Point]
    is_ratio: bool

    @property
    def values(self) -> dict[tuple[str, str | None], float | None]:
        return {key: _value(point, is_ratio=self.is_ratio) for key, point in self.cells.items()}

    @property
    def known(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """The setting with most values across, all combinations of the others down."""
    grid = _grid(points)
    if isinstance(grid, str):
        return LeftOut(name, "heat map", grid)
    shared = len(points) - len(grid.cells)
    note = f"{shared} points share a cell with a later one, which is shown." if shared else None
    metric = next((point.primary for point in points if point.primary), "")
    shown = "the ratio to the baseline" if grid.is_ratio else f"the median {metric}"
    low, high = (formatting.number(each, digits=3) for each in (min(grid.known), max(grid.known)))
    title = f"{' and '.join(grid.settings)}: {shown} from {low} to {high}"
    told = [
        f"{row} {column}: {_text(grid.values[row, column], point)}"
        for (row, column), point in grid.cells.items()
    ]
    height = 0.85 + 0.32 * len(grid.rows)
    return Drawing(
        name,
        title,
        f"{'; '.join(told)}.",
        lambda figure: _put(figure, grid),
        height_in=height,
        note=note,
    )


def _grid(points: Sequence[Point]) -> _Grid | str:
    """The points as a grid; or why they are none."""
    settings = _settings(points)
    if len(settings) < 2:
        return "fewer than two settings vary"
    across = max(settings, key=lambda key: len(settings[key]))
    columns = settings[across]
    rows = list(dict.fromkeys(_others(point, across) for point in points))
    if len(rows) > _MOST_ROWS or len(columns) > _MOST_COLUMNS:
        return f"{len(rows)} x {len(columns)} cells are more than can be read; see the table"
    cells = {(_others(point, across), point.settings.get(across)): point for point in points}
    if len(cells) == max(len(rows), len(columns)):
        return "the settings vary together, so that no two of them span a grid"
    grid = _Grid(across, list(settings), columns, rows, cells, any(point.ratio for point in points))
    return grid if grid.known else "no point has a figure that may be told"


def _put(figure: "Figure", grid: _Grid) -> None:
    axes = axes_of(figure, grid="none")
    values, known = grid.values, grid.known
    for row, below in enumerate(grid.rows):
        for column, beside in enumerate(grid.columns):
            key = (below, beside)
            _cell(
                axes,
                column,
                row,
                values.get(key),
                grid.cells.get(key),
                known=known,
                is_ratio=grid.is_ratio,
            )
    axes.set_xticks(range(len(grid.columns)), [shortened(each, 14) for each in grid.columns])
    axes.set_yticks(range(len(grid.rows)), [shortened(each, 30) for each in grid.rows])
    axes.set(
        xlim=(-0.5, len(grid.columns) - 0.5),
        ylim=(len(grid.rows) - 0.5, -0.5),
        xlabel=shortened(grid.across),
    )
    axes.spines["bottom"].set_visible(False)


def _settings(points: Sequence[Point]) -> dict[str, list[str]]:
    """Each varying setting with its values, numbers in their order."""
    keys = dict.fromkeys(key for point in points for key in point.settings)
    values = {
        key: list(dict.fromkeys(p.settings[key] for p in points if key in p.settings))
        for key in keys
    }
    return {key: sorted(each, key=_order) for key, each in values.items() if len(each) > 1}


def _order(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return math.inf, ""  # words keep the order in which they came


def _others(point: Point, across: str) -> str:
    return " ".join(f"{key}={value}" for key, value in point.settings.items() if key != across)


def _value(point: Point, *, is_ratio: bool) -> float | None:
    if is_ratio:
        return point.ratio["ratio"] if point.ratio else None
    return median_of(point.arms["candidate"], point.primary) if measured_soundly(point) else None


def _cell(
    axes: "Axes",
    column: int,
    row: int,
    value: float | None,
    point: Point | None,
    *,
    known: list,
    is_ratio: bool,
):
    """A field whose depth says how far from equal, or how near the largest; and its figure."""
    if value is not None:
        reach = max(abs(math.log(each)) for each in known) if is_ratio else max(known)
        depth = (
            abs(math.log(value)) / reach if is_ratio and reach else value / reach if reach else 0.0
        )
        colour = ALERT if is_ratio and value < 1 else ACCENT
        axes.fill_between(
            [column - 0.48, column + 0.48],
            row - 0.46,
            row + 0.46,
            color=colour,
            alpha=0.04 + 0.46 * depth,
            linewidth=0,
        )
    axes.text(
        column,
        row,
        _text(value, point),
        ha="center",
        va="center",
        color=MUTED if value is None else INK,
        fontsize=SMALL_PT,
    )


def _text(value: float | None, point: Point | None) -> str:
    if value is not None:
        return formatting.number(value, digits=3)
    if point is None:
        return "no result"
    return "failed" if point.run.result["status"] == "failed" else point.verdict or "no verdict"
