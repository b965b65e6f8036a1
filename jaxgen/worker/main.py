"""Where a worker process begins: it reads commands from the parent and sends their answers.

The parent starts it with one end of a socket and speaks JSON: `{"command": ..., "arm": ..., ...}`
in; `{"progress": ...}` as often as there is something to show, then one `{"value": ...}` or
`{"error": ...}` out. It ends when the socket closes. `worker.commands` lists the commands.
"""

import contextlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from jaxgen.errors import UserError

if TYPE_CHECKING:
    from jaxgen.worker.server import Server


def main(descriptor: int) -> None:
    """Serve commands on a socket; the entry of the process.

    Args:
        descriptor: the file descriptor of the socket.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    # A child of this process must not keep the socket open when this process dies.
    os.set_inheritable(descriptor, False)
    with contextlib.suppress(BrokenPipeError), Connection(descriptor) as connection:
        serve(connection)


def serve(connection: Connection) -> None:
    """Answer commands until the parent is gone."""

    def send(message: dict) -> None:
        connection.send_bytes(json.dumps(message).encode())

    server, failure = _started(send)
    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, ConnectionError):
            # The parent has closed its end, or died: a job's other processes must hear of it from
            # here.
            if server is not None:
                server.leave()
            return
        if server is None:
            send({"error": failure})
            continue
        try:
            from jaxgen.worker import commands

            send({"value": commands.answer(server, message)})
        except Exception as error:
            send({"error": describe(error, _cause_of(error, server))})


def _started(send: Callable[[dict], None]) -> tuple["Server | None", dict[str, Any] | None]:
    """Import jax, without waiting for a first command; return the server, or why there is none.

    The processes of two arms import at the same time then, whichever is spoken to first. The
    devices are left alone: a job must be joined before they are asked for.
    """
    begin = time.perf_counter()
    try:
        # Imported here, so that it is timed, and a failing import of jax reaches the parent as any
        # other error does.
        from jaxgen.worker import commands
    except Exception as error:
        return None, describe(error)
    return commands.Server(send, import_s=time.perf_counter() - begin), None


def describe(error: Exception, cause: str = "") -> dict[str, Any]:
    """Return an exception as plain data.

    Args:
        error: what a command raised.
        cause: a clause to put behind the message.

    Returns:
        `{kind, message, traceback}`; `kind` is user, out_of_memory or the exception's name.
    """
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


def _cause_of(error: Exception, server: "Server | None") -> str:
    """Return a clause about another process that may be the cause; a user's mistake has none."""
    if server is None or isinstance(error, UserError):
        return ""
    return server.failure_cause()
