"""What a worker process holds from command to command, and the commands that are about the process.

This module imports jax. `worker.main`, where the process begins, imports it late, and times that.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from jaxgen.checkpoints import store
from jaxgen.engine.ledger import Ledger
from jaxgen.errors import UserError
from jaxgen.machine.environment import capture
from jaxgen.specs.codec import spec_from_plain
from jaxgen.worker import peer as peers
from jaxgen.worker.arm import LoadedArm
from jaxgen.worker.loading import load_arm
from jaxgen.worker.peer import Peer

Send = Callable[[dict], None]

_HOW_TO_JOIN = (
    "start every process of the job, with mesh.processes=auto inside one that jax knows, or with "
    "mesh.coordinator, mesh.process_id and mesh.num_processes"
)


class Server:
    """The state of a worker process.

    Args:
        send: sends a message to the parent.
        import_s: how long the process took to import jax and this package, in seconds.

    Attributes:
        arms: the loaded arms by name.
        ledger: counts what is compiled, for all arms.
        peer: this process's part in a job of several processes; null outside of one.
    """

    def __init__(self, send: Send, *, import_s: float):
        self._send = send
        self._import_s = import_s
        self._environment: dict[str, Any] | None = None
        self.arms: dict[str, LoadedArm] = {}
        self.ledger = Ledger()
        self.peer: Peer | None = None

    def hello(self) -> dict[str, Any]:
        """Return the environment that this process measures in."""
        if self._environment is None:
            # Not before the first `hello`: asking for devices starts jax, and a job must be
            # joined before that.
            start = time.perf_counter()
            environment = capture()
            # The start of the backend counts too; waiting for the other arm's process does not.
            import_s = self._import_s + time.perf_counter() - start
            self._environment = {**environment, "import_s": import_s}
        return {**self._environment, "pid": os.getpid()}

    def join(self, rendezvous: dict[str, Any]) -> dict[str, int]:
        """Become one of several processes; process 0 watches the others from then on.

        Args:
            rendezvous: what `jax.distributed.initialize` takes; empty to ask the cluster.

        Raises:
            UserError: the others cannot be found.
        """
        try:
            self.peer = peers.join(rendezvous)
        except (RuntimeError, ValueError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise UserError(
                f"the job's other processes cannot be joined ({first_line}): {_HOW_TO_JOIN}"
            ) from error
        if self.peer.leads:
            threading.Thread(target=self._watch, args=(self.peer,), daemon=True).start()
        return {"process_id": self.peer.process_id, "num_processes": self.peer.num_processes}

    def leave(self) -> None:
        """End the job, if this process leads one: its parent is gone or wants no more."""
        if self.peer is not None and self.peer.leads:
            self.peer.leave()

    def failure_cause(self) -> str:
        """Return a clause about a process of the job that may have caused a failure, or ''."""
        if self.peer is None or not self.peer.leads:
            return ""
        silent = self.peer.silent()
        if silent:
            return f" ({self.peer.name_of(silent)} gives no sign any more)"
        return ""

    def send_nothing(self) -> None:
        """Keep progress to itself from now on: the parent hears of it from process 0."""
        self._send = lambda _message: None

    def is_converted(self, run: dict[str, Any]) -> bool:
        """Return whether the model's checkpoint exists; asked before a job is joined."""
        return store.is_converted(spec_from_plain(run).model)

    def convert(self, run: dict[str, Any]) -> None:
        """Convert the model unless that is done: the processes of a job cannot do it together."""
        store.converted(spec_from_plain(run).model)

    def load(self, name: str, run: dict[str, Any]) -> dict[str, Any]:
        """Restore an arm's weights, read its prompts, and check that they fit together.

        Returns:
            The arm's facts for the record.
        """

        def progress(stage: str, done: int, total: int) -> None:
            self._send({"progress": {"stage": stage, "done": done, "total": total}})

        spec = spec_from_plain(run)
        arm = load_arm(spec, ledger=self.ledger, others=self.arms, progress=progress)
        self.arms[name] = arm
        return arm.facts()

    def calls_done(self) -> None:
        """Tell the parent, whose clock runs, that the calls of a trial are over."""
        self._send({"progress": {"stage": "calls", "done": 1, "total": 1}})

    def _watch(self, peer: Peer) -> None:
        """End this process when another one of the job is dead.

        A collective whose other half is dead may wait for ever. Only a thread beside it can tell.
        """
        for silent in peer.watch():
            if silent:
                names = peer.name_of(silent)
                message = f"{names} has given no sign for {peers.PEER_TIMEOUT_S} s"
                # Said before the process ends itself: the parent then knows the cause and not only
                # the death.
                self._send({"error": {"kind": "peer", "message": message, "traceback": None}})
                os._exit(1)
