"""The files of a run folder by name, and how they are written: whole, or the user is told why not."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from jaxgen.errors import UserError

RESULT, TRIALS, OUTPUTS, SCORES, LOG = (
    "result.json",
    "trials.csv",
    "outputs.jsonl",
    "scores.csv",
    "jaxgen.log",
)
SWEEP, SWEEP_TABLE = "sweep.json", "sweep.csv"
MULTIRUN = "multirun.yaml"
"""What Hydra composed for a sweep."""


def replace(path: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half.

    Raises:
        UserError: it cannot be written.
    """
    beside = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk or a folder that is read-only is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); make room, or choose another folder with hydra.run.dir=DIR"
        ) from error
