"""The parent's end of a worker: starts the process, speaks JSON with it, and turns its death into a failure record."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

from jaxgen.errors import UserError
from jaxgen.specs.run import Process

Progress = Callable[[str, int, int], None]

_BOOT = (
    "import importlib.util as u, sys; "
    "s = u.spec_from_file_location('jaxgen', sys.argv[1] + '/__init__.py', submodule_search_locations=[sys.argv[1]]); "
    "m = u.module_from_spec(s); sys.modules['jaxgen'] = m; s.loader.exec_module(m); "
    "from jaxgen.worker.server import main; main(int(sys.argv[2]))"
)
"""Loads this very jaxgen in any interpreter, without putting its neighbours in site-packages on that one's path."""


class WorkerFailure(Exception):
    """An arm's process raised or died.

    Attributes:
        record: `{kind, message, traceback, signal}` for the result.
    """

    def __init__(self, record: dict[str, Any]):
        super().__init__(f"{record['kind']}: {record['message']}")
        self.record = record


class Worker:
    """One worker process; use it as a context manager.

    Args:
        process: its interpreter, environment and XLA flags.
        log: where all that it prints goes.
        on_own_device: other workers use the device too, so it must not take all the memory.
    """

    def __init__(self, process: Process, *, log: IO[bytes], shares_device: bool):
        ours, theirs = Pipe()
        package = Path(__file__).resolve().parents[1]
        try:
            self._popen = subprocess.Popen(
                [process.python or sys.executable, "-c", _BOOT, str(package), str(theirs.fileno())],
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
            theirs.close()
        self.connection = ours
        self.pid = self._popen.pid
        self.follows = False

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def call(self, command: str, *, progress: Progress | None = None, **arguments) -> Any:
        """Send one command and wait for its answer, without spinning.

        Raises:
            UserError: the worker found something that the user can mend.
            WorkerFailure: it raised anything else, or it died.
        """
        self.send(command, **arguments)
        while True:
            wait(
                [self.connection]
            )  # readable also when the process dies: its end of the socket closes
            done, value = self.receive(command, progress=progress)
            if done:
                return value

    def send(self, command: str, **arguments) -> None:
        """One command, whose answer is still to come.

        Raises:
            WorkerFailure: the process is dead.
        """
        try:
            self.connection.send_bytes(json.dumps({"command": command, **arguments}).encode())
        except (ConnectionError, OSError):
            raise WorkerFailure(self._death(command)) from None
        self.follows = command == "follow"

    def receive(self, command: str, *, progress: Progress | None = None) -> tuple[bool, Any]:
        """One message: whether it is the answer, and the answer.

        Raises:
            UserError, WorkerFailure: as `call`.
        """
        try:
            message = json.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError, OSError):
            raise WorkerFailure(self._death(command)) from None
        if "progress" in message:
            told = message["progress"]
            if progress is not None:
                progress(told["stage"], told["done"], told["total"])
            return False, None
        if "error" in message:
            raise _raised(message["error"])
        return True, message["value"]

    def close(self, *, patience_s: float = 0.5) -> None:
        """End the process: it goes by itself when the socket closes, or is killed a little later."""
        self.connection.close()
        try:
            self._popen.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def _death(self, command: str) -> dict[str, Any]:
        try:
            code = self._popen.wait(timeout=10)
        except subprocess.TimeoutExpired:
            code = None
        name = signal.Signals(-code).name if code is not None and code < 0 else None
        how = f"was killed by {name}" if name else f"ended with exit code {code}"
        hint = " (the system may be out of memory)" if name == "SIGKILL" else ""
        return {
            "kind": "killed" if name else "died",
            "message": f"the worker {how} during '{command}'{hint}; what it printed is in jaxgen.log",
            "traceback": None,
            "signal": name,
        }


def _raised(error: dict[str, Any]) -> Exception:
    if error["kind"] == "user":
        return UserError(error["message"])
    return WorkerFailure({**error, "signal": None})


def environment_of(process: Process, *, shares_device: bool) -> dict[str, str]:
    """The variables that a worker is started with: the parent's, with the arm's settings on top."""
    environment = dict(os.environ)
    if shares_device:
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    environment.update(process.env)
    if process.xla_flags:
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {process.xla_flags}".strip()
    return environment
