"""Floor 6: the process that owns the devices and serves arms.

The parent starts it with one end of a socket and speaks JSON: `{"command": ..., ...}` in; `{"progress": ...}` as often
as there is something to show, then one `{"value": ...}` or `{"error": ...}` out. It ends when the socket closes.
"""

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from jaxgen.errors import UserError

Send = Callable[[dict], None]


class Server:
    """The commands. Holds the arms of this process, and the one compile ledger.

    Everything heavy is imported here, in the worker, after the clock of `import_s` has started.
    """

    def __init__(self, send: Send, *, started: float):
        from jaxgen import examination
        from jaxgen.arm import LoadedArm
        from jaxgen.engine.ledger import Ledger
        from jaxgen.measure.environment import capture

        self._send = send
        self._examinations = examination.COMMANDS
        self._new_arm = LoadedArm
        self._arms: dict[str, LoadedArm] = {}
        self._ledger = Ledger()
        self._environment = {**capture(), "import_s": time.perf_counter() - started}

    def answer(self, command: str, arm: str, **arguments) -> Any:
        """`hello` and `load` are the process's, examinations have a table; anything else is the arm's own method."""
        if command in ("hello", "load"):
            return getattr(self, command)(arm, **arguments)
        if command in self._examinations:
            return self._examinations[command](self._arms[arm], **arguments)
        return getattr(self._arms[arm], command)(**arguments)

    def hello(self, arm: str) -> dict:
        """The environment that this process measures in, the same for each of its arms."""
        del arm
        return {**self._environment, "pid": os.getpid()}

    def load(self, arm: str, run: dict) -> dict:
        """Restore the weights, read the prompts, check that they fit."""
        from jaxgen.spec.codec import spec_from_plain

        def progress(stage: str, done: int, total: int) -> None:
            self._send({"progress": {"stage": stage, "done": done, "total": total}})

        self._arms[arm] = self._new_arm(spec_from_plain(run), ledger=self._ledger, others=self._arms, progress=progress)
        return self._arms[arm].facts()


def serve(connection: Connection) -> None:
    """Answer commands until the parent is gone."""
    started = time.perf_counter()

    def send(message: dict) -> None:
        connection.send_bytes(json.dumps(message).encode())

    server: Server | None = None
    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, ConnectionError):
            return
        try:
            server = server or Server(send, started=started)
            send({"value": server.answer(**message)})
        except Exception as error:
            send({"error": describe(error)})


def describe(error: Exception) -> dict[str, Any]:
    """An exception as plain data: `kind` is user, out_of_memory or the exception's name."""
    text = str(error).strip()
    kind = type(error).__name__
    message = text.splitlines()[0] if text else kind  # XLA may append pages; the traceback has them
    if isinstance(error, UserError):
        kind, message = "user", text
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        kind = "out_of_memory"
    return {"kind": kind, "message": message, "traceback": "".join(traceback.format_exception(error))}


def main(descriptor: int) -> None:
    """Entry of the process; Ctrl-C belongs to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(descriptor, False)  # a child of ours must not keep the socket open when we die
    with contextlib.suppress(BrokenPipeError), Connection(descriptor) as connection:
        serve(connection)


if __name__ == "__main__":
    main(int(sys.argv[1]))
