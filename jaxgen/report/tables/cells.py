"""Tables and their cells, and the cells that several kinds of tables share."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgen.report.lookup import number_at, value_at
from jaxgen.report.points import Point
from jaxgen.results import formatting, means, roofline_words

UNKNOWN = "-"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A text, and what it is sorted by: a number where it has one."""

    text: str
    value: float | None = None


Row = tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows.

    Attributes:
        caption: what the table shows.
        columns: the heads; the first may be empty.
        numeric: for each column, whether it is set to the right.
        rows: each as long as `columns`.
        is_long: whether its reader can sort and filter it.
    """

    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[Row, ...]
    is_long: bool = False


def facts_table(caption: str, facts: Iterable[tuple[str, str]]) -> Table:
    """Make a table of names and values, such as those of the environment."""
    rows = []
    for name, value in facts:
        rows.append((text_cell(name), text_cell(value)))
    return Table(
        caption,
        columns=("", "value"),
        numeric=(False, False),
        rows=tuple(rows),
    )


def text_cell(value: Any) -> Cell:
    """Make a cell of words; a dash where there are none."""
    if value is None or value == "":
        return Cell(UNKNOWN)
    return Cell(str(value))


def metric_cell(arm: Mapping[str, Any], metric: str) -> Cell:
    """Make a cell of a metric's geometric mean and its spread, sorted by the mean."""
    figures = value_at(arm, "metrics", metric)
    if not figures:
        return Cell(UNKNOWN)
    text = means.mean_and_std(figures)
    mean = means.mean_of(figures)
    return Cell(text, value=mean)


def share_cell(arm: Mapping[str, Any], key: str) -> Cell:
    """Make a cell of a share of what the machine can do, such as `mfu`."""
    share = number_at(arm, "roofline", key)
    percent = formatting.percent(share)
    return Cell(percent, value=share)


def read_share_cell(arm: Mapping[str, Any], reads_from: str | None) -> Cell:
    """Make a cell of an arm's share of the read rate of `memory` or `cache`, where it reads there.

    Null is the level that is not known.
    """
    if number_at(arm, "roofline", "mbu") is None:
        return Cell(UNKNOWN)
    share = roofline_words.share_of(value_at(arm, "roofline"), reads_from)
    percent = formatting.percent(share)
    return Cell(percent, value=share)


def warm_cell(arm: Mapping[str, Any]) -> Cell:
    """Say whether no trial of an arm saw a compile event; else how many trials did."""
    is_warm = value_at(arm, "compile", "warm")
    if is_warm is None:
        return Cell(UNKNOWN)
    # A strategy that compiles by nature is not warm and yet not wrong: the count says which.
    if is_warm:
        return Cell("yes")
    events = value_at(arm, "compile", "events_per_trial") or []
    # A void trial is repeated and leaves no sample, so that it is not among the events.
    void = value_at(arm, "compile", "void_trials") or 0
    dirty = void
    for count in events:
        if count > 0:
            dirty += 1
    trials = void + len(events)
    return Cell(f"no, compiled in {dirty} of {trials} trials", value=dirty)


def quality_of(point: Point) -> dict[str, str]:
    """Return what narrower numbers cost in the outputs, by name; empty where nothing is known."""
    quality = value_at(point.section, "agreement", "quality")
    return formatting.quality(quality)
