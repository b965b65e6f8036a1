"""Which job of Hydra's this is, and which jobs its sweep has."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from jaxgen.config.typed import split
from jaxgen.results.files import MULTIRUN

_YES = ("true", "yes", "y", "on", "1")  # as OmegaConf reads truth


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
        """For the errors of one job among several."""
        return "" if self.number is None else f"job {self.number} ({' '.join(self.overrides)}): "


def this_job() -> Job:
    """To be called inside `hydra.main`'s task."""
    job = HydraConfig.get()
    number = job.job.num if job.mode is RunMode.MULTIRUN else None
    return Job(Path(job.runtime.output_dir), number, tuple(job.overrides.task))


def adapted(typed: Sequence[str]) -> list[str]:
    """The overrides, and what follows from them for Hydra itself: a quiet sweep, and a dry run that submits nothing."""
    kept = list(typed)
    if _given("console.level", typed) == "quiet":
        kept.append("hydra/hydra_logging=none")  # which says what is launched
    if str(_given("sweep.dry_run", typed)).lower() in _YES:
        kept = [
            each
            for each in kept
            if not split(each)[0].startswith(("hydra/launcher", "hydra.launcher."))
        ]
    return kept


def _given(key: str, typed: Sequence[str]) -> Any:
    """The value that the command line gives to a key, the last if there are several; null where it gives none."""
    several = [override for override in typed if split(override)[0] == key]
    try:
        return (
            OverridesParser.create().parse_overrides(several[-1:])[0].value() if several else None
        )
    except HydraException:
        return None  # a mistake: composing will tell


def points_of(folder: Path) -> list[list[str]]:
    """The overrides of each job of a sweep that has begun; empty where they cannot be known before.

    Hydra has left there what it composed: the command line's overrides, and `hydra.sweeper.params`, which an experiment
    may have set.

    Args:
        folder: of the sweep.
    """
    try:
        begun: Any = OmegaConf.to_container(OmegaConf.load(folder / MULTIRUN).hydra)
        if begun["sweeper"]["_target_"] != f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}":
            return []
        params = [f"{key}={value}" for key, value in (begun["sweeper"].get("params") or {}).items()]
        parsed = OverridesParser.create().parse_overrides([*params, *begun["overrides"]["task"]])
        return BasicSweeper.split_arguments(parsed, None)[0]
    except (OSError, YAMLError, OmegaConfBaseException, AttributeError, KeyError):
        return []  # nothing has begun
    except (HydraException, ValueError, AssertionError):
        return []  # a glob, a mistake: the sweep itself will tell


def sweep_folder(typed: Sequence[str]) -> Path | None:
    """The folder that the command line gives to its sweep; null where it gives none."""
    given = [override for override in typed if override.startswith("hydra.sweep.dir=")]
    if not given:
        return None
    value = OverridesParser.create().parse_overrides(given[-1:])[0].value()
    return Path(str(value)).absolute()
