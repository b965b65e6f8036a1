"""The rows of trials.csv: one trial each, in the columns that writer and readers share."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

POSITION = ("case", "process", "block", "pair", "position", "arm")
EVENTS = ("compile_events", "void", "repeats")
"""The columns before and after those of the metrics, which are a workload's own."""
SURROUNDINGS = ("wall_s",)
"""The last columns: what the parent saw of the trial. Older files of this version have none."""


class TrialRow(TypedDict):
    """One trial; `call_s` and `functions` are summed up in result.json and have no column."""

    case: int
    process: int
    block: int
    pair: int
    # 0 for the arm that went first in its pair, else 1.
    position: int
    arm: str
    metrics: Mapping[str, float | None]
    call_s: list[float]
    compile_events: int
    functions: Mapping[str, int]
    void: bool
    repeats: int
    # From the request until the calls were done, by the parent's clock; null where not known.
    wall_s: NotRequired[float | None]


def columns(metrics: Mapping[str, float | None]) -> list[str]:
    """Return the header of a trials.csv whose trials have these metrics."""
    return [*POSITION, *metrics, *EVENTS, *SURROUNDINGS]


def is_header(names: list[str]) -> bool:
    """Tell whether a CSV with these column names is a trials.csv."""
    # What follows differs from workload to workload: only the beginning tells.
    return tuple(names[: len(POSITION)]) == POSITION
