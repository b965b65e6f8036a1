"""How a worker serves: who answers which command, and what it makes of an exception."""

import json
import os
import threading
from multiprocessing import Pipe

import pytest

from jaxgen.errors import UserError
from jaxgen.worker.diagnostics import COMMANDS
from jaxgen.worker.server import Server, describe, serve

PATIENCE_S = 20


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (UserError("cache.max_len=3 is too small"), "user", "cache.max_len=3 is too small"),
        (RuntimeError("a bug"), "RuntimeError", "a bug"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes.\nHLO: ..."),
            "out_of_memory",
            None,
        ),
        (KeyError("arm"), "KeyError", "'arm'"),
        (ValueError("the first line\nthe second"), "ValueError", "the first line"),
        (ValueError(), "ValueError", "ValueError"),
    ],
    ids=repr,
)
def test_an_exception_is_told_by_kind_and_in_one_line(error, kind, message):
    told = describe(error)
    assert told["kind"] == kind
    assert told["message"] == (message or "RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes.")
    assert type(error).__name__ in told["traceback"]


class Answering:
    """Stands in for a loaded arm."""

    def trial(self, case, repeats):
        return ["trial", case, repeats]


@pytest.fixture
def server():
    made = Server(lambda _message: None, started=0.0)
    made._arms["candidate"] = Answering()
    yield made
    made._ledger.close()


class TestServer:
    def test_it_says_where_it_runs(self, server):
        told = server.answer("hello", "candidate")
        assert (told["pid"], told["platform"]) == (os.getpid(), "cpu")
        assert told["import_s"] > 0

    def test_an_examination_gets_the_arm(self, server, monkeypatch):
        monkeypatch.setitem(server._examinations, "scale", lambda arm, case: [type(arm), case])
        assert server.answer("scale", "candidate", case=3) == [Answering, 3]

    def test_anything_else_is_the_arm_s_own(self, server):
        assert server.answer("trial", "candidate", case=1, repeats=2) == ["trial", 1, 2]

    def test_no_examination_hides_what_an_arm_can_do(self):
        from jaxgen.worker.arm import LoadedArm

        assert not [command for command in COMMANDS if hasattr(LoadedArm, command)]


class TestServe:
    @pytest.fixture
    def asked(self, monkeypatch):
        """Asks a served worker; it ends with the connection."""
        monkeypatch.setattr("jaxgen.worker.server.Server", FakeServer)
        ours, theirs = Pipe()
        serving = threading.Thread(target=serve, args=(theirs,))
        serving.start()

        def ask(**message):
            ours.send_bytes(json.dumps(message).encode())
            told = []
            while ours.poll(PATIENCE_S):
                told.append(json.loads(ours.recv_bytes()))
                if "progress" not in told[-1]:
                    return told
            raise AssertionError(f"no answer after {told}")

        yield ask
        ours.close()
        serving.join(PATIENCE_S)
        theirs.close()
        assert not serving.is_alive()

    def test_an_answer_follows_its_progress(self, asked):
        assert asked(command="load", arm="candidate") == [
            {"progress": {"done": 1}},
            {"value": "load"},
        ]

    def test_it_serves_on_after_an_error(self, asked):
        (told,) = asked(command="fail", arm="candidate")
        assert (told["error"]["kind"], told["error"]["message"]) == ("user", "it is wrong")
        assert asked(command="hello", arm="candidate")[-1] == {"value": "hello"}


class FakeServer:
    """Answers with the command."""

    def __init__(self, send, *, started):
        assert started > 0
        self._send = send

    def leave(self):
        """The others are told."""

    def cause(self):
        return ""

    def answer(self, command, arm):
        if command == "fail":
            raise UserError("it is wrong")
        if command == "load":
            self._send({"progress": {"done": 1}})
        return command
