"""Runs that somebody ends from outside: what is kept, and that no worker is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import jaxgen
from jaxgen.errors import ExitCode
from support.small_runs import ALONE, SMALL, read_result, trials_of, workers_of

pytestmark = pytest.mark.slow

ROOT = Path(jaxgen.__file__).parents[1]

ENDLESS = ("measure.blocks=1000000", "measure.max_seconds=600", "measure.target_ci=0.000001")
"""Trials that go on until something happens."""


@contextlib.contextmanager
def command_line(folder, *overrides):
    """`python -m jaxgen` in a session of its own, as a terminal starts it."""
    command = [sys.executable, "-m", "jaxgen", *SMALL, *overrides, f"hydra.run.dir={folder}"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for_trials(folder, process, *, count=4, seconds=120):
    """Waits until so many trials are on disk."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if (folder / "trials.csv").exists() and len(trials_of(folder)) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {count} trials; exit code {process.poll()}")


class TestSignals:
    @pytest.mark.parametrize(
        ("sent", "arms"),
        [(signal.SIGINT, ("baseline=same",)), (signal.SIGTERM, ALONE)],
        ids=["Ctrl-C", "SIGTERM"],
    )
    def test_an_interrupted_run_keeps_its_trials_and_ends_its_workers(self, sent, arms, tmp_path):
        with command_line(tmp_path, *arms, *ENDLESS) as process:
            wait_for_trials(tmp_path, process)
            workers = workers_of(process.pid)
            os.killpg(process.pid, sent)  # as a terminal does it: to the whole foreground group
            out, err = process.communicate(timeout=60)
        result = read_result(tmp_path)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert process.returncode == ExitCode.INTERRUPTED
        assert (err, len(workers), alive) == ("", 2 if arms is not ALONE else 1, [])
        assert (result["status"], result["verdict"]) == ("failed", None)
        assert result["arms"]["candidate"]["metrics"]["tokens_per_s"]["n"] >= 2
        assert len(trials_of(tmp_path)) >= 4
        assert "interrupted: what was measured until then is kept" in " ".join(out.split())

    def test_workers_end_by_themselves_when_the_parent_is_killed(self, tmp_path):
        with command_line(tmp_path, *ALONE, *ENDLESS) as process:
            wait_for_trials(tmp_path, process, count=2)
            workers = workers_of(process.pid)
            process.kill()
            process.communicate(timeout=60)
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert (len(workers), alive) == (1, [])
        assert read_result(tmp_path)["status"] == "running"

    def test_a_reader_that_goes_away_does_not_cost_the_result(self, tmp_path):
        with command_line(tmp_path, *ALONE) as process:
            process.stdout.close()
            assert process.stderr.read() == ""
        assert read_result(tmp_path)["status"] == "completed"
