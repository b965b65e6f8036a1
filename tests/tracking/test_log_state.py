"""What is noted of a run for wandb outlives a logging process that dies; without wandb, which is a stand-in here."""

import json
import shutil
from pathlib import Path

import pytest

from jaxgen.errors import UserError
from jaxgen.specs.tracker import Wandb
from jaxgen.tracking import State, client, log_state, logging_process, upload
from jaxgen.tracking.child_process import Outcome
from jaxgen.tracking.log_state import Logged, Order
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
        note = Logged(order, server="http://nowhere", runs=(), problems=())
        log_state.wandb_folder(Path(order.folder)).mkdir(exist_ok=True)
        for count, arm in enumerate(ARMS):
            if count == self.lives_for:
                return Outcome(-9, "killed")
            note = note.with_run(arm, id=f"{arm}-{order.token}", place=arm, problems=())
            log_state.write(note)
        return Outcome(0, "")

    def send(self, folder, runs, **_limits):
        self.sent += [run.arm for run in runs]
        return {}, {}


@pytest.fixture
def child(monkeypatch):
    made = Child()
    monkeypatch.setattr(logging_process, "run_module", made)
    monkeypatch.setattr(upload, "no_answer", lambda *_args, **_options: None)
    monkeypatch.setattr(upload, "_send", made.send)
    return made


@pytest.fixture
def folder(tmp_path, child):
    """A run that was logged offline."""
    made = finished_run(tmp_path / "run")
    client.track(Wandb(), made)
    return made


@pytest.mark.parametrize("lives_for", [0, 1])
def test_a_moved_folder_keeps_its_note_if_it_cannot_be_logged_anew(
    lives_for, folder, child, tmp_path
):
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    child.lives_for = lives_for
    with pytest.raises(UserError, match="killed"):
        upload.sync(moved)
    child.lives_for = None
    assert [each.state for each in upload.sync(moved)] == [State.sent, State.sent]
    assert child.sent == list(ARMS)


def test_an_arm_that_was_never_logged_is_logged_before_the_sending(tmp_path, child):
    folder = finished_run(tmp_path / "run")
    child.lives_for = 1
    assert "could not log this run (killed)" in client.track(Wandb(), folder)[0]
    child.lives_for = None
    assert [each.arm for each in upload.sync(folder)] == child.sent == list(ARMS)


def test_a_new_run_in_the_folder_forgets_the_old_one_s(folder, child):
    child.lives_for = 0
    client.track(Wandb(), folder)
    assert log_state.read(folder) is None


def test_what_was_sent_whole_is_not_sent_again(folder, child):
    for run in log_state.read(folder).runs:
        place = folder / "wandb" / run.place
        place.mkdir()
        (place / "run.wandb.synced").touch()
    assert {each.state for each in upload.sync(folder)} == {State.before}
    assert child.sent == []
