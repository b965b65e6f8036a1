"""How a worker process serves: answers, progress, and what it makes of an exception."""

import json
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

    def __init__(self, send, *, started):
        assert started > 0
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


class TestServe:
    @pytest.fixture
    def ask(self, monkeypatch):
        """Send a message to a serving thread and return all that it sends back."""
        monkeypatch.setattr("jaxgen.worker.commands.Server", StandInServer)
        monkeypatch.setattr("jaxgen.worker.commands.answer", answer)
        ours, theirs = Pipe()
        serving = threading.Thread(target=serve, args=(theirs,))
        serving.start()

        def asked(**message):
            ours.send_bytes(json.dumps(message).encode())
            messages = []
            while ours.poll(PATIENCE_S):
                messages.append(json.loads(ours.recv_bytes()))
                if "progress" not in messages[-1]:
                    return messages
            raise AssertionError(f"no answer after {messages}")

        yield asked
        ours.close()
        serving.join(PATIENCE_S)
        theirs.close()
        assert not serving.is_alive()

    def test_an_answer_follows_its_progress(self, ask):
        assert ask(command="load", arm="candidate") == [
            {"progress": {"done": 1}},
            {"value": "load"},
        ]

    def test_it_serves_on_after_an_error(self, ask):
        (message,) = ask(command="fail", arm="candidate")
        assert (message["error"]["kind"], message["error"]["message"]) == ("user", "it is wrong")
        assert ask(command="hello", arm="candidate")[-1] == {"value": "hello"}
