"""How a worker process serves: answers, progress, and what it makes of an exception."""

import contextlib
import json
import sys
import threading
from multiprocessing import Pipe

import pytest

from jaxgen.errors import UserError
from jaxgen.worker.main import describe, serve

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
def test_an_exception_is_described_by_kind_and_in_one_line(error, kind, message):
    record = describe(error)
    assert record["kind"] == kind
    assert record["message"] == (message or "RESOURCE_EXHAUSTED: Out of memory allocating 3 bytes.")
    assert type(error).__name__ in record["traceback"]


class StandInServer:
    """Takes the place of `Server`."""

    def __init__(self, send, *, import_s):
        assert import_s >= 0
        self.send = send

    def leave(self):
        """There are no others to tell."""

    def failure_cause(self):
        return ""


def answer(server, message):
    """Take the place of `answer`: return the command."""
    if message["command"] == "fail":
        raise UserError("it is wrong")
    if message["command"] == "load":
        server.send({"progress": {"done": 1}})
    return message["command"]


def _end(ours, theirs, serving):
    ours.close()
    serving.join(PATIENCE_S)
    theirs.close()
    assert not serving.is_alive()


class TestServe:
    @pytest.fixture
    def ask_of(self):
        """Start a serving thread; return how to send it a message and get all that it answers."""
        with contextlib.ExitStack() as stack:

            def start():
                ours, theirs = Pipe()
                serving = threading.Thread(target=serve, args=(theirs,))
                serving.start()
                stack.callback(_end, ours, theirs, serving)

                def asked(**message):
                    ours.send_bytes(json.dumps(message).encode())
                    messages = []
                    while ours.poll(PATIENCE_S):
                        messages.append(json.loads(ours.recv_bytes()))
                        if "progress" not in messages[-1]:
                            return messages
                    raise AssertionError(f"no answer after {messages}")

                return asked

            yield start

    @pytest.fixture
    def ask(self, monkeypatch, ask_of):
        """Send a message to a serving thread with a stand-in for the server."""
        monkeypatch.setattr("jaxgen.worker.commands.Server", StandInServer)
        monkeypatch.setattr("jaxgen.worker.commands.answer", answer)
        return ask_of()

    def test_an_answer_follows_its_progress(self, ask):
        assert ask(command="load", arm="candidate") == [
            {"progress": {"done": 1}},
            {"value": "load"},
        ]

    def test_it_serves_on_after_an_error(self, ask):
        (message,) = ask(command="fail", arm="candidate")
        assert (message["error"]["kind"], message["error"]["message"]) == ("user", "it is wrong")
        assert ask(command="hello", arm="candidate")[-1] == {"value": "hello"}

    def test_an_import_that_fails_is_the_answer_to_every_command(self, monkeypatch, ask_of):
        monkeypatch.delattr("jaxgen.worker.commands")
        monkeypatch.setitem(sys.modules, "jaxgen.worker.commands", None)
        ask = ask_of()
        for command in ("hello", "load"):
            (message,) = ask(command=command, arm="candidate")
            assert message["error"]["kind"] == "ModuleNotFoundError"

    def test_it_imports_before_it_is_asked_anything(self, monkeypatch, ask_of):
        imported = threading.Event()

        def server(send, *, import_s):
            imported.set()
            return StandInServer(send, import_s=import_s)

        monkeypatch.setattr("jaxgen.worker.commands.Server", server)
        ask_of()
        assert imported.wait(PATIENCE_S)
