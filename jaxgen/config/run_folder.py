"""The folder of one run: how it is named, and that none is left behind by a command that could not begin."""

import datetime
import logging
import re
import shutil
from pathlib import Path

from omegaconf import OmegaConf

from jaxgen.config.table import conf_dir
from jaxgen.results.files import LOG, MULTIRUN, SWEEP, SWEEP_TABLE

_LONGEST = 80  # characters; with the time before it well below the 255 of a file system
_WORTHLESS_ALONE = {".hydra", LOG, MULTIRUN, SWEEP, SWEEP_TABLE}
"""What Hydra writes whatever happens, and the record of a sweep: its errors have been shown."""


def register_resolvers() -> None:
    """Makes `${started:FORMAT}` and `${short_name:...}` known to the YAML files.

    The moment is one for the whole command, to the microsecond, so that no two commands share a folder.
    """
    moment = datetime.datetime.now()
    OmegaConf.register_new_resolver("started", moment.strftime, replace=True)
    OmegaConf.register_new_resolver("short_name", short_name, replace=True)


def sweep_folder() -> Path:
    """Where this command's sweep goes unless the user says otherwise."""
    return Path(OmegaConf.load(conf_dir() / "config.yaml").hydra.sweep.dir).absolute()


def short_name(overrides: str) -> str:
    """A name for a run from its overrides: letters, digits, dots, dashes and underscores only, and not long.

    Args:
        overrides: joined by commas, as Hydra's `override_dirname` has them.

    Example:
        >>> short_name("cache=dynamic,prompts.text=Hello there!")
        'cache-dynamic_prompts.text-Hello-there'
    """
    plain = re.sub(r"[^\w.-]+", "-", overrides.replace(",", "_"), flags=re.ASCII)
    return plain[:_LONGEST].strip("-._") or "default"


def remove_unused(folder: Path) -> None:
    """Removes a folder that holds nothing of worth, and the folders around it that are empty then."""
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - _WORTHLESS_ALONE:
        return
    _close_logs(folder)
    shutil.rmtree(folder)
    for parent in folder.parents:
        ours = parent.match("????-??-??") or parent.name in ("sweeps", "runs")
        if not ours or parent == Path.cwd() or any(parent.iterdir()):
            return
        parent.rmdir()


def _close_logs(folder: Path) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and Path(handler.baseFilename).parent == folder:
            root.removeHandler(handler)
            handler.close()
