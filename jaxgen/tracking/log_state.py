"""What was logged offline, and where: the file that a later sending reads."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from jaxgen.results.files import MULTIRUN, SWEEP, write_atomically
from jaxgen.specs.tracker import Wandb

_NAME = "jaxgen.json"


@dataclasses.dataclass(frozen=True)
class Order:
    """What the logging process is told.

    Attributes:
        folder: the run folder.
        token: a part of the wandb runs' ids that no other execution has.
        project, entity, group, tags, name: of the wandb runs.
    """

    folder: str
    token: str
    project: str
    entity: str | None
    group: str
    tags: Sequence[str]
    name: str


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """One wandb run on disk.

    Attributes:
        arm: whose it is.
        id: wandb's.
        place: the name of its folder below the run folder's `wandb/`.
    """

    arm: str
    id: str
    place: str


@dataclasses.dataclass(frozen=True)
class Logged:
    """All that a run folder's `wandb/` holds of its run.

    Attributes:
        order: as it was given.
        server: the address that wandb would send to.
        runs: those that are whole.
        problems: parts that could not be logged.
    """

    order: Order
    server: str
    runs: tuple[LoggedRun, ...]
    problems: tuple[str, ...]

    def with_run(self, arm: str, *, id: str, place: str, problems: Sequence[str]) -> "Logged":  # noqa: A002 - wandb's word
        """The same and one run more."""
        runs = (*self.runs, LoggedRun(arm=arm, id=id, place=place))
        return dataclasses.replace(self, runs=runs, problems=(*self.problems, *problems))


def order_of(tracker: Wandb, folder: Path, *, token: str) -> Order:
    """What `tracker` says of a run folder, with the names that follow from the folder's own."""
    sweep = sweep_of(folder)
    own = f"{sweep.name}-{folder.name}" if sweep else folder.name
    return Order(
        folder=str(folder),
        token=token,
        project=tracker.project,
        entity=tracker.entity,
        group=tracker.group or (sweep or folder).name[:128],
        tags=list(tracker.tags),
        name=tracker.name or own[:100],
    )


def sweep_of(folder: Path) -> Path | None:
    """The folder of the sweep that a run belongs to, if it does: its jobs' folders are numbers."""
    sweep = folder.parent
    marked = "sweeps" in sweep.parts or any(
        (sweep / name).exists() for name in (MULTIRUN, SWEEP)
    )
    return sweep if folder.name.isdigit() and marked else None


def write(logged: Logged) -> None:
    """Into the run folder's `wandb/`, whole or not at all."""
    path = _path(Path(logged.order.folder))
    write_atomically(path, json.dumps(dataclasses.asdict(logged), indent=2) + "\n")


def read(folder: Path) -> Logged | None:
    """What was written; null where nothing was logged."""
    try:
        plain = json.loads(_path(folder).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    runs = tuple(LoggedRun(**run) for run in plain["runs"])
    return Logged(
        Order(**plain["order"]),
        server=plain["server"],
        runs=runs,
        problems=tuple(plain["problems"]),
    )


def forget(folder: Path) -> None:
    """Nothing is logged there any more: an earlier run's notes are not this one's."""
    _path(folder).unlink(missing_ok=True)


def wandb_folder(folder: Path) -> Path:
    """Where all of wandb's files of a run lie."""
    return folder / "wandb"


def _path(folder: Path) -> Path:
    return wandb_folder(folder) / _NAME
