"""The parent's end of a worker: it starts the process, speaks JSON with it, and sees its death."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import IO, Any

from jaxgen.errors import UserError
from jaxgen.executor.affinity import pinned
from jaxgen.executor.process_settings import environment_of
from jaxgen.executor.source import package_of
from jaxgen.specs.run import Process

Progress = Callable[[str, int, int], None]

_BOOT = """
import importlib.util, sys
package, descriptor = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "jaxgen", package + "/__init__.py", submodule_search_locations=[package]
)
sys.modules["jaxgen"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["jaxgen"])
from jaxgen.worker.main import main
main(int(descriptor))
"""
"""Loads one jaxgen, this very one or that of `process.source`, in any interpreter, without putting
its neighbours in site-packages on that interpreter's path."""

_EXIT_TIMEOUT_S = 10
"""A worker whose socket has closed ends within this time, or its exit code is not known."""


class WorkerFailure(Exception):
    """An arm's process raised or died.

    Attributes:
        record: `{kind, message, traceback, signal}` for the result.
    """

    def __init__(self, record: dict[str, Any]):
        super().__init__(f"{record['kind']}: {record['message']}")
        self.record = record


class Worker:
    """One worker process, running from the construction on; use it as a context manager.

    Args:
        process: its interpreter, environment and XLA flags.
        log: where all that it prints goes.
        shares_device: other workers use the device too, so it must not take all the memory.

    Attributes:
        connection: this end of the socket.
        follows: the worker does what process 0 of a job does, and answers only when that ends.

    Raises:
        UserError: the interpreter cannot be started, or not on the CPUs of `process.pin`, or the
            source cannot be driven.
    """

    def __init__(self, process: Process, *, log: IO[bytes], shares_device: bool):
        package = package_of(process)
        ours, theirs = Pipe()
        python = process.python or sys.executable
        try:
            with pinned(process.pin):
                self._popen = subprocess.Popen(
                    [python, "-c", _BOOT, str(package), str(theirs.fileno())],
                    env=environment_of(process, shares_device=shares_device),
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is the parent's to handle
                )
        except OSError as error:
            raise UserError(
                f"process.python={process.python} cannot be started ({error.strerror}); "
                "give the path of a Python that has jax, or null for the one that runs jaxgen"
            ) from None
        finally:
            # The child has a copy. Ours would keep the socket open, and hide the child's death.
            theirs.close()
        self.connection = ours
        self.follows = False

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def call(
        self, command: str, *, arm: str = "", progress: Progress | None = None, **arguments
    ) -> Any:
        """Send one command and wait for its answer, without spinning.

        Args:
            command: its name in `worker.commands`.
            arm: whose command it is; empty for the process's own.
            progress: called with (stage, done, total) while the worker is at work.
            **arguments: JSON values.

        Raises:
            UserError: the worker found something that the user can mend.
            WorkerFailure: it raised anything else, or it died.
        """
        self.send(command, arm=arm, **arguments)
        while True:
            # The connection is readable too when the process dies: its end of the socket closes.
            wait([self.connection])
            done, value = self.receive(command, progress=progress)
            if done:
                return value

    def send(self, command: str, *, arm: str = "", **arguments) -> None:
        """Send one command; `receive` reads the answer.

        Raises:
            WorkerFailure: the process is dead.
        """
        message = {"command": command, "arm": arm, **arguments}
        try:
            self.connection.send_bytes(json.dumps(message).encode())
        except (ConnectionError, OSError):
            raise WorkerFailure(self._death(command)) from None
        self.follows = command == "follow"

    def receive(self, command: str, *, progress: Progress | None = None) -> tuple[bool, Any]:
        """Read one message: whether it is the answer to `command`, and the answer.

        Raises:
            UserError, WorkerFailure: as `call`.
        """
        try:
            message = json.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError, OSError):
            raise WorkerFailure(self._death(command)) from None
        if "progress" in message:
            step = message["progress"]
            if progress is not None:
                progress(step["stage"], step["done"], step["total"])
            return False, None
        if "error" in message:
            error = message["error"]
            if error["kind"] == "user":
                raise UserError(error["message"])
            raise WorkerFailure({**error, "signal": None})
        return True, message["value"]

    def close(self, *, timeout_s: float = 0.5) -> None:
        """End the process: it goes when the socket closes, or is killed `timeout_s` later."""
        self.connection.close()
        try:
            self._popen.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                # The whole group: what the worker has started itself, such as a compiler, ends with
                # it.
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def _death(self, command: str) -> dict[str, Any]:
        """Return the failure record of a process whose end of the socket has closed."""
        try:
            # The socket closes a moment before the process is gone, and only its exit code says
            # what killed it.
            code = self._popen.wait(timeout=_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
        name = None
        if code is not None and code < 0:
            name = signal.Signals(-code).name
        how = f"was killed by {name}" if name else f"ended with exit code {code}"
        # The kernel kills with this signal where memory ran out, and says so to nobody else.
        hint = " (the system may be out of memory)" if name == "SIGKILL" else ""
        message = f"the worker {how} during '{command}'{hint}; what it printed is in jaxgen.log"
        return {
            "kind": "killed" if name else "died",
            "message": message,
            "traceback": None,
            "signal": name,
        }
