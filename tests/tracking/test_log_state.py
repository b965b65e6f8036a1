"""The file of what was logged outlives a logging process that dies.

wandb itself is left out: a stand-in logs and sends.
"""

import json
import shutil
from pathlib import Path

import pytest

from jaxgen.errors import UserError
from jaxgen.specs.tracker import Wandb
from jaxgen.tracking import State, client, log_state, logging_process, upload
from jaxgen.tracking.child_process import Outcome
from jaxgen.tracking.log_state import Logged, LoggedRun, Order
from support.tracked_runs import finished_run

ARMS = ("candidate", "baseline")


class Child:
    """Logs and sends as the child processes do.

    Attributes:
        lives_for: how many arms it logs before it dies; null logs all.
        sent: the arms that were sent, in their order.
    """

    def __init__(self):
        self.lives_for, self.sent = None, []

    def __call__(self, words, *, env, limit_s, log):
        if len(words) == 1:
            return Outcome(0, "http://nowhere")
        order = Order(**json.loads(words[1]))
        logged = Logged(order, server="http://nowhere", runs=(), problems=())
        log_state.wandb_folder(Path(order.folder)).mkdir(exist_ok=True)
        for count, arm in enumerate(ARMS):
            if count == self.lives_for:
                return Outcome(-9, "killed")
            run = LoggedRun(arm, id=f"{arm}-{order.token}", place=arm)
            logged = logged.with_run(run, problems=())
            log_state.write(logged)
        return Outcome(0, "")

    def send(self, folder, runs, **_limits):
        self.sent += [run.arm for run in runs]
        return {}, {}


@pytest.fixture
def child(monkeypatch):
    stand_in = Child()
    monkeypatch.setattr(logging_process, "run_module", stand_in)
    monkeypatch.setattr(upload, "no_answer", lambda *_args, **_options: None)
    monkeypatch.setattr(upload, "_sync", stand_in.send)
    return stand_in


@pytest.fixture
def folder(tmp_path, child):
    """A run that was logged offline."""
    run_folder = finished_run(tmp_path / "run")
    client.track(Wandb(), run_folder)
    return run_folder


@pytest.mark.parametrize("lives_for", [0, 1])
def test_a_moved_folder_keeps_its_file_if_it_cannot_be_logged_anew(
    lives_for, folder, child, tmp_path
):
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    child.lives_for = lives_for
    with pytest.raises(UserError, match="killed"):
        upload.sync(moved)
    child.lives_for = None
    assert [run.state for run in upload.sync(moved)] == [State.sent, State.sent]
    assert child.sent == list(ARMS)


def test_an_arm_that_was_never_logged_is_logged_before_the_sending(tmp_path, child):
    folder = finished_run(tmp_path / "run")
    child.lives_for = 1
    assert "could not log this run (killed)" in client.track(Wandb(), folder)[0]
    child.lives_for = None
    assert [run.arm for run in upload.sync(folder)] == child.sent == list(ARMS)


def test_a_new_run_in_the_folder_deletes_the_old_one_s_file(folder, child):
    child.lives_for = 0
    client.track(Wandb(), folder)
    assert log_state.read(folder) is None


def test_a_run_that_was_sent_is_not_sent_again(folder, child):
    for run in log_state.read(folder).runs:
        run_folder = folder / "wandb" / run.place
        run_folder.mkdir()
        (run_folder / "run.wandb.synced").touch()
    assert {run.state for run in upload.sync(folder)} == {State.sent_before}
    assert child.sent == []
