"""The folder of one run: how it is named, and that a command that could not begin leaves none."""

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
"""What Hydra writes in any case, and the record of a sweep: its errors have been shown."""


def register_resolvers() -> None:
    """Make `${started:FORMAT}` and `${short_name:...}` known to the YAML files.

    The moment is one for the whole command, to the microsecond, so that no two commands share a
    folder.
    """
    # Hydra asks for the time anew for every job of a sweep: here all get the same answer.
    moment = datetime.datetime.now()
    OmegaConf.register_new_resolver("started", moment.strftime, replace=True)
    OmegaConf.register_new_resolver("short_name", short_name, replace=True)


def default_sweep_folder() -> Path:
    """Return where this command's sweep goes unless the user says otherwise."""
    config = OmegaConf.load(conf_dir() / "config.yaml")
    return Path(config.hydra.sweep.dir).absolute()


def short_name(overrides: str) -> str:
    """Make a short name for a run from its overrides.

    Args:
        overrides: joined by commas, as Hydra's `override_dirname` has them.

    Returns:
        A name of letters, digits, dots, dashes and underscores only.

    Example:
        >>> short_name("cache=dynamic,prompts.text=Hello there!")
        'cache-dynamic_prompts.text-Hello-there'
    """
    joined = overrides.replace(",", "_")
    plain = re.sub(r"[^\w.-]+", "-", joined, flags=re.ASCII)
    # A name that begins with a dot is hidden, and one that begins with a dash looks like a flag.
    return plain[:_LONGEST].strip("-._") or "default"


def remove_unused(folder: Path) -> None:
    """Remove a folder that holds nothing of worth, and the folders around it if they are empty."""
    if not folder.is_dir():
        return
    names = {path.name for path in folder.iterdir()}
    if names - _WORTHLESS_ALONE:
        return
    # An open log file would be written again, or keep the folder from being removed.
    _close_logs(folder)
    shutil.rmtree(folder)
    for parent in folder.parents:
        # Only what the configuration's own patterns have made: a folder of the user's is kept.
        is_ours = parent.match("????-??-??") or parent.name in ("sweeps", "runs")
        if not is_ours or parent == Path.cwd():
            return
        if any(parent.iterdir()):
            return
        parent.rmdir()


def _close_logs(folder: Path) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        if not isinstance(handler, logging.FileHandler):
            continue
        if Path(handler.baseFilename).parent == folder:
            root.removeHandler(handler)
            handler.close()
