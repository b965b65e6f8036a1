"""What was logged offline, and where: the file `wandb/jaxgen.json` of a run folder.

The logging process writes it; a later sending reads it.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from jaxgen.results.files import MULTIRUN, SWEEP, write_atomically
from jaxgen.specs.tracker import Wandb

_NAME = "jaxgen.json"


@dataclasses.dataclass(frozen=True)
class Order:
    """What the logging process has to log.

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
        arm: the arm that it is of.
        id: wandb's id of it.
        place: the name of its folder in the run folder's `wandb/`.
    """

    arm: str
    id: str
    place: str


@dataclasses.dataclass(frozen=True)
class Logged:
    """All that a run folder's `wandb/` holds of its run.

    Attributes:
        order: what was to be logged.
        server: the address that wandb would send to.
        runs: the wandb runs that are complete.
        problems: parts that could not be logged.
    """

    order: Order
    server: str
    runs: tuple[LoggedRun, ...]
    problems: tuple[str, ...]

    def with_run(self, run: LoggedRun, problems: Sequence[str]) -> "Logged":
        """Return the same with one run more, and the problems that it had."""
        return dataclasses.replace(
            self, runs=(*self.runs, run), problems=(*self.problems, *problems)
        )


def order_of(tracker: Wandb, folder: Path, *, token: str) -> Order:
    """Return what to log of a run folder, which gives the names that the tracker leaves open."""
    sweep = sweep_of(folder)
    own_name = f"{sweep.name}-{folder.name}" if sweep else folder.name
    # One group for a whole sweep, so that wandb lists its points together; of a single run the
    # group holds the two arms.
    group = (sweep or folder).name
    # wandb allows 128 characters; the arm is appended to the name.
    return Order(
        folder=str(folder),
        token=token,
        project=tracker.project,
        entity=tracker.entity,
        group=tracker.group or group[:128],
        tags=list(tracker.tags),
        name=tracker.name or own_name[:100],
    )


def sweep_of(folder: Path) -> Path | None:
    """Return the folder of the sweep that a run belongs to; null if it belongs to none."""
    sweep = folder.parent
    is_sweep = "sweeps" in sweep.parts
    for name in (MULTIRUN, SWEEP):
        is_sweep = is_sweep or (sweep / name).exists()
    # The folders of a sweep's jobs are numbers.
    if folder.name.isdigit() and is_sweep:
        return sweep
    return None


def write(logged: Logged) -> None:
    """Write the file into the run folder's `wandb/`, whole or not at all."""
    text = json.dumps(dataclasses.asdict(logged), indent=2) + "\n"
    write_atomically(_path(Path(logged.order.folder)), text)


def read(folder: Path) -> Logged | None:
    """Read the file of a run folder; null where nothing was logged."""
    try:
        plain = json.loads(_path(folder).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Logged(
        Order(**plain["order"]),
        server=plain["server"],
        runs=tuple(LoggedRun(**run) for run in plain["runs"]),
        problems=tuple(plain["problems"]),
    )


def forget(folder: Path) -> None:
    """Delete the file, if there is one."""
    _path(folder).unlink(missing_ok=True)


def wandb_folder(folder: Path) -> Path:
    """Return the folder of all of wandb's files of a run."""
    return folder / "wandb"


def _path(folder: Path) -> Path:
    return wandb_folder(folder) / _NAME
