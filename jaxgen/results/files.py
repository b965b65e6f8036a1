"""The names of the files of a run folder, and the one way to write a file: whole, or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from jaxgen.errors import UserError

RESULT = "result.json"
TRIALS = "trials.csv"
OUTPUTS = "outputs.jsonl"
SCORES = "scores.csv"
LOG = "jaxgen.log"

SWEEP = "sweep.json"
SWEEP_TABLE = "sweep.csv"
MULTIRUN = "multirun.yaml"
"""What Hydra composed for a sweep."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, which takes its place once the block is done.

    A reader sees the old file or the new one, never half of one. If the block raises, the old file
    stays and nothing is left beside it.
    """
    # One name for each file: what a killed run left there is overwritten by the next.
    beside = path.with_name(f"{path.name}.partial")
    try:
        yield beside
        # Within one folder a rename is atomic; from another file system it would be a copy.
        beside.replace(path)
    except BaseException:
        # After Ctrl-C too, and without hiding the first error behind one of the clean-up.
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, contents: str | bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    with atomic_path(path) as beside, beside.open("wb") as file:
        file.write(data)
        file.flush()
        # Without it a machine that loses power may keep the new name and lose what stands in it.
        os.fsync(file.fileno())


def save(path: Path, text: str) -> None:
    """Write a file of a run folder whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    with writing(path):
        write_atomically(path, text)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk or a read-only folder into an error that the user can fix."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); "
            "make room, or choose another folder with hydra.run.dir=DIR"
        ) from error
