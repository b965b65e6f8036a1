"""What a wandb report is to say and to show, as plain values: for the process that builds it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The words and the figures of a report.

    Attributes:
        title: of the whole.
        opening, closing: Markdown, above and below the panels.
        metrics: what the trials were logged with, by name, each with its heading.
        ratios: the metrics that have a ratio to the baseline, by name.
        several: more than one run, so that no single number stands for all of them.
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
        groups: that they belong to.
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
        spec: the file that its specification goes to; null saves it on the server instead.
    """

    sheet: Sheet
    selection: Selection
    spec: str | None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Task":
        """What `dataclasses.asdict` made of one."""
        return cls(Sheet(**plain["sheet"]), Selection(**plain["selection"]), spec=plain["spec"])
