"""What wandb holds of a run, read back by its own tool.

Whatever goes wrong there costs seconds and no number.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxgen.specs.tracker import Wandb
from jaxgen.tracking import logging_process, track
from support.small_runs import read_result, trials_of
from support.tracked_runs import NAME, PNG, finished_run, home_of_its_own, places_of, servants_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    with home_of_its_own(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="module")
def offline(tmp_path_factory, _home):
    """A run that was logged offline, and the notes for the user."""
    folder = finished_run(tmp_path_factory.mktemp("runs") / NAME)
    return folder, track(Wandb(tags=("a b", "c")), folder)


@pytest.fixture(scope="module")
def read_back(offline):
    """{arm: (its summary, its records)}, read by wandb's own tool."""
    return {arm: inspected(place) for arm, place in places_of(offline[0]).items()}


def inspected(place):
    def read(*flags):
        wandb = [sys.executable, "-P", "-m", "wandb"]
        environment = os.environ | {
            "WANDB_CACHE_DIR": str(place / "cache"),
            "WANDB_ERROR_REPORTING": "false",
        }
        return subprocess.run(
            [*wandb, "leet", "inspect", *flags, "--json", str(place)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            cwd=place,
        ).stdout

    return json.loads(read("--summary")), [json.loads(line) for line in read().splitlines()]


class TestOffline:
    def test_one_line_says_how_to_send_it(self, offline):
        folder, notes = offline
        assert notes == [
            f"wandb: logged offline; send it with: python -m jaxgen.report {folder} --sync"
        ]

    def test_wandb_reads_back_which_run_and_arm_it_is(self, read_back):
        for arm, (run_info, records) in read_back.items():
            assert (run_info["project"], run_info["state"]) == ("jaxgen", "finished")
            assert run_info["tags"] == ["a b", "c"]
            assert run_info["name"] == f"{NAME} {arm}"
            config = run_info["config"]
            assert (config["arm"], config["choices"]["model"]) == (arm, "tiny")
            (run,) = [record["run"] for record in records if record["type"] == "run"]
            assert (run["run_group"], run["job_type"]) == (NAME, arm)

    def test_wandb_reads_back_every_trial_and_the_summary(self, offline, read_back):
        result = read_result(offline[0])
        for arm, (run_info, records) in read_back.items():
            history = [
                record["history"]["item"] for record in records if record["type"] == "history"
            ]
            speeds = [row["trial/tokens_per_s"] for row in history if "trial/tokens_per_s" in row]
            assert speeds == [
                float(row["tokens_per_s"]) for row in trials_of(offline[0]) if row["arm"] == arm
            ]
            metric = result["arms"][arm]["metrics"]["tokens_per_s"]
            summary = run_info["summary"]
            assert summary["metrics"]["tokens_per_s"]["median"] == metric["median"]
            assert "device_peak_bytes" not in summary["memory"]  # unknown, and no zero

    def test_the_candidate_has_the_verdict_the_table_the_plot_and_the_files(
        self, offline, read_back
    ):
        run_info, records = read_back["candidate"]
        summary = run_info["summary"]
        assert (summary["verdict"], summary["agreement"]) == ("faster", "identical")
        media = places_of(offline[0])["candidate"] / "files" / "media"
        (table,) = (json.loads(path.read_text()) for path in media.glob("table/*.json"))
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        assert [row["metric"] for row in rows] == ["tokens_per_s", "latency_s"]
        assert (
            rows[0]["ratio"]
            == summary["against_baseline"]["tokens_per_s"]["ratio"]
            == pytest.approx(2)
        )
        assert [path.read_bytes() for path in media.glob("images/plots/*.png")] == [PNG]
        artifacts = [record["artifact"] for record in records if record["type"] == "artifact"]
        (artifact,) = [artifact for artifact in artifacts if artifact["type"] == "result"]
        assert {file["path"] for file in artifact["manifest"]["contents"]} == {
            "result.json",
            "trials.csv",
        }

    def test_what_one_part_raises_costs_no_other(self, tmp_path):
        folder = finished_run(tmp_path / "run")
        (folder / "plots" / "broken.png").write_bytes(b"no picture")
        first, second = track(Wandb(), folder)
        assert "logged offline" in first
        assert "could not log plots/broken.png (UnidentifiedImageError" in second
        assert set(places_of(folder)) == {"candidate", "baseline"}

    def test_a_failed_arm_is_a_failed_run(self, tmp_path):
        folder = finished_run(tmp_path / "run")
        result = read_result(folder)
        result["status"] = "failed"
        result["arms"]["baseline"] |= {
            "metrics": {},
            "failure": {"kind": "killed", "message": "by SIGKILL"},
        }
        (folder / "result.json").write_text(json.dumps(result))
        track(Wandb(), folder)
        run_info, _ = inspected(places_of(folder)["baseline"])
        assert (run_info["exit_code"], run_info["summary"]["failure"]["kind"]) == (1, "killed")

    def test_what_cannot_be_logged_is_one_line(self, tmp_path, monkeypatch):
        folder = finished_run(tmp_path / "run")
        (tmp_path / "wandb.py").write_text("raise ImportError('no wandb here')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        before = (folder / "result.json").read_bytes()
        (note,) = track(Wandb(), folder)
        reason = "(ImportError: no wandb here)"
        assert note == f"wandb could not log this run {reason}; the run folder has everything"
        assert (folder / "result.json").read_bytes() == before

    def test_a_wandb_that_hangs_is_killed(self, tmp_path, monkeypatch):
        folder = finished_run(tmp_path / "run")
        (tmp_path / "wandb.py").write_text("import time; time.sleep(600)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(logging_process, "LIMIT_S", 1)
        begin = time.monotonic()
        (note,) = track(Wandb(), folder)
        assert time.monotonic() - begin < 10
        assert "(it was not done after 1 s)" in note
        assert servants_of(folder) == []

    def test_an_impatient_user_ends_it_at_once(self, tmp_path, monkeypatch):
        folder = finished_run(tmp_path / "run")
        (tmp_path / "wandb.py").write_text("import time; time.sleep(600)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        before = (folder / "result.json").read_bytes()
        interrupt = threading.Timer(1, signal.raise_signal, [signal.SIGINT])
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            track(Wandb(), folder)
        interrupt.join()
        assert servants_of(folder) == []
        assert (folder / "result.json").read_bytes() == before
