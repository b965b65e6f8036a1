"""Which job of Hydra's this is, and which jobs its sweep has."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from jaxgen.config.hydra_private import BASIC_SWEEPER, sweep_points
from jaxgen.config.typed import split
from jaxgen.results.files import MULTIRUN

_TRUE = ("true", "yes", "y", "on", "1")  # the words that OmegaConf reads as true


@dataclasses.dataclass(frozen=True)
class Job:
    """What Hydra is running.

    Attributes:
        folder: of its run.
        number: in its sweep; null for a command's only run.
        overrides: as typed, of this job alone.
    """

    folder: Path
    number: int | None
    overrides: tuple[str, ...]

    @property
    def label(self) -> str:
        """What the error of one job among several begins with."""
        if self.number is None:
            return ""
        overrides = " ".join(self.overrides)
        return f"job {self.number} ({overrides}): "


def this_job() -> Job:
    """Return the job that is running; for use inside `hydra.main`'s task."""
    config = HydraConfig.get()
    # A single run has no number, not even 0: its folder lies somewhere else.
    number = config.job.num if config.mode is RunMode.MULTIRUN else None
    return Job(
        folder=Path(config.runtime.output_dir),
        number=number,
        overrides=tuple(typed_overrides(config)),
    )


def typed_overrides(config: Any) -> list[str]:
    """Return a job's overrides as typed, from Hydra's own part of its configuration.

    An interpolation in one of them belongs to its key: here it would be looked for among Hydra's.
    """
    typed: Any = OmegaConf.to_container(config.overrides.task, resolve=False)
    return typed


def adapt_overrides(typed: Sequence[str]) -> list[str]:
    """Return the overrides with what follows from them for Hydra itself.

    A quiet sweep does not log what it launches, and a dry run has no launcher: it submits nothing.
    """
    adapted = list(typed)
    if _typed_value("console.level", typed) == "quiet":
        adapted.append("hydra/hydra_logging=none")
    dry_run = str(_typed_value("sweep.dry_run", typed))
    if dry_run.lower() in _TRUE:
        adapted = [override for override in adapted if not _is_about_launcher(override)]
    return adapted


def _is_about_launcher(override: str) -> bool:
    key, _ = split(override)
    return key.startswith(("hydra/launcher", "hydra.launcher."))


def _typed_value(key: str, typed: Sequence[str]) -> Any:
    """Return the value that the command line gives to a key; null where it gives none."""
    last = None
    for override in typed:
        typed_key, _ = split(override)
        if typed_key == key:
            last = override  # as everywhere in Hydra, the last of several values counts
    if last is None:
        return None
    try:
        parsed = OverridesParser.create().parse_overrides([last])
    except HydraException:
        return None  # a mistake, of which composing will tell
    return parsed[0].value()


def points_of(folder: Path) -> list[list[str]]:
    """Return the overrides of each job of a sweep that has begun.

    Hydra has left in the folder what it composed: the command line's overrides, and
    `hydra.sweeper.params`, which an experiment's file may have set.

    Args:
        folder: of the sweep.

    Returns:
        One list for each job; nothing where they cannot be known before they run.
    """
    try:
        composed: Any = OmegaConf.to_container(OmegaConf.load(folder / MULTIRUN).hydra)
        sweeper = composed["sweeper"]
        # Sweepers of plugins choose their points while they run.
        if sweeper["_target_"] != BASIC_SWEEPER:
            return []
        params = sweeper.get("params") or {}
        overrides = [f"{key}={value}" for key, value in params.items()]
        overrides += composed["overrides"]["task"]
        parsed = OverridesParser.create().parse_overrides(overrides)
        return sweep_points(parsed)
    except (OSError, YAMLError, OmegaConfBaseException, AttributeError, KeyError):
        return []  # nothing has begun
    except (HydraException, ValueError, AssertionError):
        return []  # a glob or a mistake, of which the sweep itself will tell


def typed_sweep_folder(typed: Sequence[str]) -> Path | None:
    """Return the folder that the command line gives to its sweep; null where it gives none."""
    folders = []
    for override in typed:
        if override.startswith("hydra.sweep.dir="):
            folders.append(override)
    if not folders:
        return None
    # The last one counts, as everywhere in Hydra.
    parsed = OverridesParser.create().parse_overrides(folders[-1:])
    folder = str(parsed[0].value())
    return Path(folder).absolute()
