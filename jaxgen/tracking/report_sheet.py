"""What a wandb report says and shows, as plain values for the process that builds it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The words and the figures of a report.

    Attributes:
        title: of the whole report.
        opening, closing: Markdown, above and below the panels.
        metrics: the metrics of the trials by name, each with its heading.
        ratios: the names of the metrics that have a ratio to the baseline.
        several: whether it is of more than one run, so that no single number stands for all.
    """

    title: str
    opening: str
    closing: str
    metrics: Mapping[str, str]
    ratios: Sequence[str]
    several: bool


@dataclasses.dataclass(frozen=True)
class Selection:
    """The wandb runs that the panels draw.

    Attributes:
        project, entity: where they are; a null entity is the account's own.
        groups: the groups that they belong to.
        runs: their ids, by arm.
    """

    project: str
    entity: str | None
    groups: Sequence[str]
    runs: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Task:
    """One report to build.

    Attributes:
        sheet: what it says.
        selection: the runs that it draws.
        spec: the file for its specification; null saves the report on the server instead.
    """

    sheet: Sheet
    selection: Selection
    spec: str | None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Task":
        """Return the task of which `dataclasses.asdict` has made this."""
        return cls(Sheet(**plain["sheet"]), Selection(**plain["selection"]), spec=plain["spec"])
