"""Run folders for the wandb tracker, and what becomes of them there."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jaxgen.results.record import Record
from support.small_runs import VERDICT, finished_result, trial_row, two_arms

NAME = "11-22-33-444555_cache-fixed"
"""Of a run folder."""

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63680000008200"
    "8177cd72b60000000049454e44ae426082"
)
"""One grey pixel."""


@contextlib.contextmanager
def home_of_its_own(home: Path) -> Iterator[None]:
    """Give the test an empty home, and an environment without the user's wandb settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "XDG_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield
    assert list(home.rglob("*")) == []


def finished_run(folder: Path) -> Path:
    """A run folder as a run leaves it: a result, trials, a plot."""
    (folder / "plots").mkdir(parents=True)
    result = finished_result(folder) | VERDICT
    record = Record(two_arms(), folder)
    for block in range(3):
        for arm, speed in (("candidate", 200.0), ("baseline", 100.0)):
            record.add_trial(trial_row(arm, block=block, tokens_per_s=speed + block))
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "plots" / "trials.png").write_bytes(PNG)
    return folder


def places_of(folder: Path) -> dict[str, Path]:
    """{arm: its wandb run's folder}."""
    told = json.loads((folder / "wandb" / "jaxgen.json").read_text())
    return {run["arm"]: folder / "wandb" / run["place"] for run in told["runs"]}


def servants_of(folder: Path) -> list[psutil.Process]:
    """Processes of wandb that still work on a run folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if process.environ().get("WANDB_DIR") == str(folder) else []
    return found
