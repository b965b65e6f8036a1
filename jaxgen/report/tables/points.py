"""The table of all points of a report: their settings, verdicts, figures and outputs."""

import dataclasses
from collections.abc import Callable, Sequence

from jaxgen.report.failures import failure_of
from jaxgen.report.lookup import value_at
from jaxgen.report.points import Point
from jaxgen.report.tables.cells import (
    UNKNOWN,
    Cell,
    Row,
    Table,
    metric_cell,
    quality_of,
    read_share_cell,
    text_cell,
    warm_cell,
)
from jaxgen.results import formatting, means
from jaxgen.results.collection import Unread


@dataclasses.dataclass(frozen=True)
class _Column:
    head: str
    numeric: bool
    cell_of: Callable[[Point], Cell]


def points_table(points: Sequence[Point], unread: Sequence[Unread] = ()) -> Table:
    """Make the table with one row for each point, and of the settings only those that vary.

    Args:
        points: those of all runs.
        unread: runs that cannot be shown; each has a row with the reason.
    """
    columns = _columns(points, unread)
    rows = []
    for point in points:
        cells = [column.cell_of(point) for column in columns]
        rows.append(tuple(cells))
    for run in unread:
        rows.append(_unread_row(run, columns))
    return Table(
        caption=f"Every point: {means.CELLS}; settings that all share are left out",
        columns=tuple(column.head for column in columns),
        numeric=tuple(column.numeric for column in columns),
        rows=tuple(rows),
        is_long=True,
    )


def _columns(points: Sequence[Point], unread: Sequence[Unread]) -> list[_Column]:
    """Return the columns from what tells a point apart to what qualifies its figures."""
    folders = {point.run.folder for point in points}
    settings: dict[str, None] = {}
    qualities: dict[str, None] = {}
    for point in points:
        settings.update(dict.fromkeys(point.settings))
        qualities.update(dict.fromkeys(quality_of(point)))
    columns = []
    if unread or len(folders) > 1:
        columns.append(_Column("run", False, _run_of_point))
    columns += [_setting_column(key) for key in settings]
    columns.append(_Column("verdict", False, _verdict_cell))
    columns += _columns_of_arms(points)
    columns += [_quality_column(name) for name in qualities]
    # Behind the figures stands what says how far they can be trusted.
    columns.append(_Column("warm", False, _warm_arms))
    columns.append(_Column("MBU", True, _bandwidth_cell))
    return columns


def _columns_of_arms(points: Sequence[Point]) -> list[_Column]:
    """Return the metrics of the verdicts, first of all candidates, and how both arms compare."""
    headings = _primary_metrics(points)
    columns = []
    # Points without a baseline have no ratio and nothing to agree with.
    if not any("baseline" in point.arms for point in points):
        for metric, heading in headings.items():
            columns.append(_metric_column("candidate", metric, heading))
        return columns
    for arm in ("candidate", "baseline"):
        for metric, heading in headings.items():
            columns.append(_metric_column(arm, metric, f"{arm}, {heading}"))
    columns.append(_Column("ratio [95 % interval]", True, _ratio_cell))
    columns.append(_Column("outputs", False, _agreement_cell))
    return columns


def _unread_row(run: Unread, columns: Sequence[_Column]) -> Row:
    """Return a row that says in the column of the verdicts why a run has none."""
    cells = []
    for column in columns:
        if column.head == "run":
            cells.append(_run_cell(run.name))
        # The reason stands where the reader looks for a verdict.
        elif column.cell_of is _verdict_cell:
            cells.append(Cell(f"not shown: {run.reason}"))
        else:
            cells.append(Cell(""))
    return tuple(cells)


def _setting_column(key: str) -> _Column:
    def cell_of(point: Point) -> Cell:
        return _setting_cell(point.settings.get(key))

    return _Column(key, False, cell_of)


def _metric_column(arm: str, metric: str, head: str) -> _Column:
    def cell_of(point: Point) -> Cell:
        figures = point.arms.get(arm, {})
        return metric_cell(figures, metric)

    return _Column(head, True, cell_of)


def _quality_column(name: str) -> _Column:
    def cell_of(point: Point) -> Cell:
        quality = quality_of(point)
        return text_cell(quality.get(name))

    return _Column(name, True, cell_of)


def _primary_metrics(points: Sequence[Point]) -> dict[str, str]:
    """Return the metrics that the verdicts are about, with their headings."""
    headings = {}
    for point in points:
        name = point.primary
        if name is None or name in headings:
            continue
        metrics = point.arms["candidate"]["metrics"]
        headings[name] = formatting.heading(name, metrics[name])
    return headings


def _verdict_cell(point: Point) -> Cell:
    """Return the verdict; of a failed run, which arm failed with what."""
    if point.run.result["status"] != "failed":
        return text_cell(point.verdict)
    for arm in point.arms.values():
        reason = failure_of(arm)
        if reason:
            return text_cell(f"failed: {reason}")
    return text_cell("failed: no arm says why")


def _ratio_cell(point: Point) -> Cell:
    comparison = point.ratio
    if not comparison:
        return Cell(UNKNOWN)
    text = formatting.ratio_and_interval(comparison)
    return Cell(text, value=comparison["ratio"])


def _agreement_cell(point: Point) -> Cell:
    status = value_at(point.section, "agreement", "status")
    return text_cell(status)


def _bandwidth_cell(point: Point) -> Cell:
    candidate = point.arms["candidate"]
    return read_share_cell(candidate, "memory")


def _warm_arms(point: Point) -> Cell:
    """Return `yes`, or the arms that are not warm."""
    arms = point.arms
    dirty = []
    for name, arm in arms.items():
        # Only a cell with a count is of an arm that is not warm.
        cell = warm_cell(arm)
        if cell.value:
            count = cell.text.removeprefix("no, ")
            dirty.append(f"{name} {count}")
    if not dirty:
        return warm_cell(arms["candidate"])
    return Cell("; ".join(dirty))


def _setting_cell(value: str | None) -> Cell:
    """Return a setting, which is sorted as a number where it is one."""
    if value is None:
        return Cell(UNKNOWN)
    try:
        # Else a batch of 16 would be sorted before one of 2.
        return Cell(value, float(value))
    except ValueError:
        return Cell(value)


def _run_of_point(point: Point) -> Cell:
    return _run_cell(point.run.name)


def _run_cell(name: str) -> Cell:
    """Return a run's name; the points of a sweep are sorted by their numbers."""
    if name.isdigit():
        return Cell(name, value=float(name))
    return Cell(name)
