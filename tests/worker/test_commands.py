"""The commands of a worker: who carries out which, and what a follower does with their paths."""

import dataclasses
import os

import pytest

from jaxgen.worker import commands
from jaxgen.worker.commands import COMMANDS, Command, answer, follow
from jaxgen.worker.requests import CompareLogits, OfCase, WriteReferenceLogits, with_paths_in
from jaxgen.worker.server import Server


class StandInArm:
    """Stands in for a loaded arm."""

    def trial(self, case, repeats, *, on_done):
        on_done()
        return ["trial", case, repeats]


class StandInPeer:
    """Keeps what is published, and has commands for a follower."""

    def __init__(self, *, leads, messages=()):
        self.leads = leads
        self.messages = list(messages)
        self.published = []
        self.left = False

    def publish(self, message):
        self.published.append(message)

    def commands(self):
        return iter(self.messages)

    def leave(self):
        self.left = True


@pytest.fixture
def server():
    made = Server(lambda _message: None, import_s=0.5)
    made.arms["candidate"] = StandInArm()
    yield made
    made.ledger.close()


TRIAL = {"command": "trial", "arm": "candidate", "case": 1, "repeats": 2}


class TestCommands:
    def test_hello_says_where_the_process_runs(self, server):
        environment = answer(server, {"command": "hello", "arm": "candidate"})
        assert (environment["pid"], environment["platform"]) == (os.getpid(), "cpu")
        assert environment["import_s"] > 0.5

    def test_a_command_of_an_arm_gets_the_arm_and_its_arguments(self, server):
        assert answer(server, TRIAL) == ["trial", 1, 2]

    def test_every_diagnostic_gets_the_arm_and_its_arguments(self, server, monkeypatch):
        monkeypatch.setattr(commands.diagnostics, "scale", lambda arm, case: [type(arm), case])
        message = {"command": "scale", "arm": "candidate", "case": 3}
        assert answer(server, message) == [StandInArm, 3]

    def test_an_argument_that_a_command_does_not_take_is_an_error(self, server):
        with pytest.raises(TypeError, match="repeat"):
            answer(server, {"command": "trial", "arm": "candidate", "case": 1, "repeat": 2})

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_request_is_a_frozen_dataclass(self, name):
        request = COMMANDS[name].request
        assert dataclasses.is_dataclass(request)
        assert request.__dataclass_params__.frozen  # type: ignore[attr-defined]


class TestJobs:
    def test_process_0_publishes_a_command_before_it_begins(self, server, monkeypatch):
        server.peer = StandInPeer(leads=True)
        published = []

        def handle(server, _arm, _request):
            published.extend(server.peer.published)

        monkeypatch.setitem(COMMANDS, "scale", Command(OfCase, handle))
        message = {"command": "scale", "arm": "candidate", "case": 0}
        answer(server, message)
        assert published == [message]

    def test_a_follower_publishes_nothing_and_leaves_at_the_end(self, server):
        server.peer = StandInPeer(leads=False, messages=[TRIAL])
        follow(server)
        assert (server.peer.published, server.peer.left) == ([], True)

    def test_a_follower_writes_into_a_folder_of_its_own(self, server, monkeypatch, tmp_path):
        paths = []
        monkeypatch.setattr(
            commands.diagnostics, "capture", lambda arm, case, path: paths.append(path)
        )
        path = str(tmp_path / "activations.safetensors")
        message = {"command": "capture", "arm": "candidate", "case": 0, "path": path}
        server.peer = StandInPeer(leads=False, messages=[message])
        follow(server)
        assert not paths[0].startswith(str(tmp_path))
        assert paths[0].endswith("activations.safetensors")


class TestPaths:
    """`elsewhere` is a path of process 0, `folder` one of the process that follows it."""

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "own").mkdir()
        return tmp_path / "own"

    @pytest.fixture
    def elsewhere(self, tmp_path):
        return str(tmp_path / "reference.npy")

    def test_an_output_moves_into_the_folder(self, folder, elsewhere):
        request = with_paths_in(folder, WriteReferenceLogits(case=0, rows=[], path=elsewhere))
        assert request.path == str(folder / "reference.npy")

    def test_an_input_stays_where_it_is(self, folder, elsewhere):
        request = with_paths_in(folder, CompareLogits(case=0, rows=[], path=elsewhere))
        assert request.path == elsewhere

    def test_an_input_that_was_written_here_is_read_here(self, folder, elsewhere):
        (folder / "reference.npy").touch()
        request = with_paths_in(folder, CompareLogits(case=0, rows=[], path=elsewhere))
        assert request.path == str(folder / "reference.npy")

    def test_a_path_that_is_null_stays_null(self, folder):
        request = COMMANDS["examine"].request(case=0, dump=None)
        assert with_paths_in(folder, request) == request


def test_the_parent_hears_when_the_calls_of_a_trial_are_done_and_then_the_answer(server):
    sent = []
    server._send = sent.append
    server.arms["candidate"] = StandInArm()
    answer(server, TRIAL)
    assert sent == [{"progress": {"stage": "calls", "done": 1, "total": 1}}]
