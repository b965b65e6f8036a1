"""Floor 6: the process that owns the devices and serves arms.

The parent starts it with one end of a socket and speaks JSON: `{"command": ..., ...}` in; `{"progress": ...}` as often
as there is something to show, then one `{"value": ...}` or `{"error": ...}` out. It ends when the socket closes.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from jaxgen.errors import UserError

if TYPE_CHECKING:
    from jaxgen.worker.peer import Peer

Send = Callable[[dict], None]

_HOW_TO_JOIN = (
    "start every process of the job, with mesh.processes=auto inside one that jax knows, or with mesh.coordinator, "
    "mesh.process_id and mesh.num_processes"
)


class Server:
    """The commands. Holds the arms of this process, and the one compile ledger.

    Everything heavy is imported here, in the worker, after the clock of `import_s` has started.
    """

    def __init__(self, send: Send, *, started: float):
        from jaxgen.engine.ledger import Ledger
        from jaxgen.machine.environment import capture
        from jaxgen.worker import diagnostics
        from jaxgen.worker.arm import LoadedArm

        self._send = send
        self._examinations = diagnostics.COMMANDS
        self._new_arm = LoadedArm
        self._arms: dict[str, LoadedArm] = {}
        self._ledger = Ledger()
        self._capture = capture
        self._started = started
        self._environment: dict[str, Any] | None = None
        self._peer: Peer | None = None

    def answer(self, command: str, arm: str, **arguments) -> Any:
        """Some are the process's, examinations have a table; anything else is the arm's own method. In a job of several
        processes the others begin with it, too."""
        if self._peer is not None and self._peer.leads:
            self._peer.tell({"command": command, "arm": arm, **arguments})
        if command in ("hello", "load", "join", "follow", "convert", "is_converted"):
            return getattr(self, command)(arm, **arguments)
        if command in self._examinations:
            return self._examinations[command](self._arms[arm], **arguments)
        return getattr(self._arms[arm], command)(**arguments)

    def hello(self, arm: str) -> dict:
        """The environment that this process measures in, the same for each of its arms."""
        del arm
        if (
            self._environment is None
        ):  # only now: asking for devices starts jax, before which a job must be joined
            self._environment = {**self._capture(), "import_s": time.perf_counter() - self._started}
        return {**self._environment, "pid": os.getpid()}

    def join(self, arm: str, way: dict) -> dict:
        """Become one of several processes; process 0 then watches the others.

        Raises:
            UserError: the others cannot be found.
        """
        from jaxgen.worker.peer import Peer

        del arm
        try:
            self._peer = Peer(way)
        except (RuntimeError, ValueError) as error:
            told = str(error).strip().splitlines()[0]
            raise UserError(
                f"the job's other processes cannot be joined ({told}): {_HOW_TO_JOIN}"
            ) from error
        if self._peer.leads:
            threading.Thread(target=self._watch, args=(self._peer,), daemon=True).start()
        return {"process_id": self._peer.process_id, "num_processes": self._peer.num_processes}

    def follow(self, arm: str) -> None:
        """Do what process 0 does, in silence, until it ends."""
        del arm
        assert self._peer is not None, "only who has joined can follow"
        self._send = lambda _message: None
        for message in self._peer.commands():
            self.answer(**message)
        self._peer.leave()

    def leave(self) -> None:
        """The parent is gone, or has had enough."""
        if self._peer is not None and self._peer.leads:
            self._peer.leave()

    def cause(self) -> str:
        """Who may be the cause of a failure, as a clause: a process of the job that gives no sign."""
        silent = self._peer.silent() if self._peer is not None and self._peer.leads else []
        return (
            f" ({self._peer.named(silent)} gives no sign any more)"
            if self._peer is not None and silent
            else ""
        )

    def is_converted(self, arm: str, run: dict) -> bool:
        """Whether the processes of a job can load the model; asked before it is joined."""
        from jaxgen.checkpoints.store import is_converted
        from jaxgen.specs.codec import spec_from_plain

        del arm
        return is_converted(spec_from_plain(run).model)

    def convert(self, arm: str, run: dict) -> None:
        """Convert a model that is not converted yet: for processes of a job, which cannot do that together."""
        from jaxgen.checkpoints.store import converted
        from jaxgen.specs.codec import spec_from_plain

        del arm
        converted(spec_from_plain(run).model)

    def load(self, arm: str, run: dict) -> dict:
        """Restore the weights, read the prompts, check that they fit."""
        from jaxgen.specs.codec import spec_from_plain

        def progress(stage: str, done: int, total: int) -> None:
            self._send({"progress": {"stage": stage, "done": done, "total": total}})

        self._arms[arm] = self._new_arm(
            spec_from_plain(run), ledger=self._ledger, others=self._arms, progress=progress
        )
        return self._arms[arm].facts()

    def _watch(self, peer: "Peer") -> None:
        """A collective whose other half is dead may wait for ever: then nobody else can tell."""
        from jaxgen.worker.peer import PEER_TIMEOUT_S

        for silent in peer.watch():
            if silent:
                message = f"{peer.named(silent)} has given no sign for {PEER_TIMEOUT_S} s"
                self._send({"error": {"kind": "peer", "message": message, "traceback": None}})
                os._exit(1)


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
            if server is not None:
                server.leave()
            return
        try:
            server = server or Server(send, started=started)
            send({"value": server.answer(**message)})
        except Exception as error:
            cause = (
                server.cause() if server is not None and not isinstance(error, UserError) else ""
            )
            send({"error": describe(error, cause)})


def describe(error: Exception, cause: str = "") -> dict[str, Any]:
    """An exception as plain data: `kind` is user, out_of_memory or the exception's name; `cause` is a clause."""
    text = str(error).strip()
    kind = type(error).__name__
    message = text.splitlines()[0] if text else kind  # XLA may append pages; the traceback has them
    if isinstance(error, UserError):
        kind, message = "user", text
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        kind = "out_of_memory"
    return {
        "kind": kind,
        "message": message + cause,
        "traceback": "".join(traceback.format_exception(error)),
    }


def main(descriptor: int) -> None:
    """Entry of the process; Ctrl-C belongs to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(
        descriptor, False
    )  # a child of ours must not keep the socket open when we die
    with contextlib.suppress(BrokenPipeError), Connection(descriptor) as connection:
        serve(connection)


if __name__ == "__main__":
    main(int(sys.argv[1]))
