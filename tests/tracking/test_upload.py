"""The way to a wandb server, against a stand-in: everything arrives.

A bad server costs its time limit and nothing else.
"""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from jaxgen.specs.tracker import Mode, Wandb
from jaxgen.tracking import State, child_process, sync, track
from support.stand_in_wandb import KEY, serving
from support.tracked_runs import NAME, PNG, finished_run, home_of_its_own, servants_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    with home_of_its_own(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture(scope="module")
def offline(tmp_path_factory, _home):
    """A run that was logged offline."""
    folder = finished_run(tmp_path_factory.mktemp("runs") / NAME)
    track(Wandb(), folder)
    return folder


@pytest.fixture
def server(monkeypatch):
    """Opens a stand-in server to send to."""
    with contextlib.ExitStack() as stack:

        def open_server(**behaviour):
            stand_in = stack.enter_context(serving(**behaviour))
            monkeypatch.setenv("WANDB_BASE_URL", stand_in.url)
            monkeypatch.setenv("WANDB_API_KEY", KEY)
            return stand_in

        yield open_server


def states(sent) -> dict[str, State]:
    """{arm: what became of its run}."""
    return {run.arm: run.state for run in sent}


def test_online_sends_all_of_it(tmp_path, server):
    listening = server()
    folder = finished_run(tmp_path / NAME)
    (note,) = track(
        Wandb(mode=Mode.online, project="p", entity="team", finish_timeout_s=120), folder
    )
    assert note.startswith("wandb: sent, ")
    assert {run["jobType"] for run in listening.runs.values()} == {"candidate", "baseline"}
    for name, run in listening.runs.items():
        assert (run["groupName"], run["project"], run["entity"]) == (NAME, "p", "team")
        assert f"{listening.url}/team/p/runs/{name}" in note
        rows = [row for row in listening.history[name] if "trial/tokens_per_s" in row]
        assert len(rows) == 3
        assert listening.summary[name]["metrics"]["tokens_per_s"]["n"] == 6
    assert {artifact["artifactTypeName"] for artifact in listening.artifacts} == {
        "run_table",
        "result",
    }
    assert listening.uploads["artifact/result.json"] == (folder / "result.json").read_bytes()
    assert listening.uploads["artifact/trials.csv"] == (folder / "trials.csv").read_bytes()
    assert PNG in listening.uploads.values()
    assert states(sync(folder)) == {"candidate": State.sent_before, "baseline": State.sent_before}


def test_a_folder_that_was_moved_is_sent_whole_and_under_the_same_ids(offline, tmp_path, server):
    listening = server()
    moved = tmp_path / "elsewhere"
    shutil.copytree(offline, moved, symlinks=True)
    shutil.rmtree(moved / "wandb" / "data")
    assert states(sync(moved)) == {"candidate": State.sent, "baseline": State.sent}
    ids = {run["id"] for run in json.loads((offline / "wandb" / "jaxgen.json").read_text())["runs"]}
    assert listening.runs.keys() == ids
    assert listening.uploads["artifact/result.json"] == (moved / "result.json").read_bytes()


@pytest.mark.parametrize(
    ("behaviour", "limits", "reason"),
    [
        ({"silent": True}, {"init_timeout_s": 1}, "gave no answer within 1 s"),
        ({"dies_at": "CreateArtifact"}, {"finish_timeout_s": 6}, "had not taken all after 6 s"),
        ({"status": 401}, {}, "did not take it (not for you)"),
        (
            {"refuses": "UpsertBucket"},
            {},
            "did not take it (Error initializing run: input: not for you)",
        ),
        (
            {"refuses": "CommitArtifact"},
            {},
            "did not take all of it (sender: failed to log artifact",
        ),
        (
            {"refuses": "PUT"},
            {},
            "did not take all of it (file transfer: upload: failed to upload: status: 403",
        ),
    ],
    ids=[
        "silent",
        "dying",
        "refusing the key",
        "refusing a run",
        "refusing an artifact",
        "refusing files",
    ],
)
def test_a_bad_server_costs_its_time_limit_and_nothing_else(
    behaviour, limits, reason, offline, server
):
    listening = server(**behaviour)
    begin = time.monotonic()
    candidate, _ = sync(offline, **limits)
    assert time.monotonic() - begin < 60
    assert candidate.state is State.offline
    assert f"{listening.url} {reason}" in candidate.detail
    assert servants_of(offline) == []


def test_what_a_server_took_in_part_is_sent_whole_later(tmp_path, server):
    folder = finished_run(tmp_path / "run")
    server(refuses="PUT")
    note = track(Wandb(mode=Mode.online, finish_timeout_s=120), folder)[0]
    assert "2 of 2 runs stay offline; send them with: python -m jaxgen.report" in note
    listening = server()
    assert states(sync(folder)) == {"candidate": State.sent, "baseline": State.sent}
    assert listening.uploads["artifact/result.json"] == (folder / "result.json").read_bytes()


def test_a_child_ends_by_itself_if_nobody_is_left_to_kill_it(server):
    words = ["jaxgen.tracking.probe", server(silent=True).url, "600"]
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", child_process._BOOT, "1", *words],
        env=child_process._environment({}),
    )
    assert child.wait(60) == -signal.SIGALRM


def test_a_missing_network_is_named(offline, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        (candidate, _) = sync(offline)
        assert "Connection refused" in candidate.detail


@pytest.mark.parametrize(
    ("key", "reason"),
    [("", "there is no API key (wandb login, or WANDB_API_KEY)"), ("short", "API key must have")],
    ids=["no key", "half a key"],
)
def test_an_impossible_key_is_named(key, reason, offline, server, monkeypatch):
    server()
    monkeypatch.setenv("WANDB_API_KEY", key)
    candidate, _ = sync(offline)
    assert candidate.state is State.offline
    assert reason in candidate.detail
