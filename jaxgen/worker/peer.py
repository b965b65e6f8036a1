"""A worker's part in a job of several processes: process 0 gets the commands, the others follow it.

Every collective needs every process, in one order. So process 0 publishes each command before it
begins with it, in the key-value store of jax.distributed, and the others take the commands from
there, one after the other.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

PEER_TIMEOUT_S = 30
"""A process that gives no sign for so long is taken for dead."""
BEAT_S = 1.0
NAMES_AFTER_S = 4 * BEAT_S
"""When something has failed: a process that gave no sign for so long is named as the cause."""

_KEYS = "jaxgen"
_PIECE = 2**20  # characters: a value is one message, which may not be of any size
_POLL_MS = 5000
_END = {"command": "end"}


class Peer:
    """This process among the others; `join` makes it.

    Args:
        client: of jax.distributed, which holds the key-value store.
        process_id: the number of this process.
        num_processes: how many there are.
    """

    def __init__(self, client: Any, *, process_id: int, num_processes: int):
        self.process_id = process_id
        self.num_processes = num_processes
        self._client = client
        self._count = 0

    @property
    def leads(self) -> bool:
        """Whether this is process 0, which gets the commands and publishes them."""
        return self.process_id == 0

    def publish(self, message: Mapping[str, Any]) -> None:
        """Put a command where the others find it."""
        key = self._next_key()
        text = json.dumps(message)
        count = 0
        for start in range(0, len(text), _PIECE):
            piece = text[start : start + _PIECE]
            self._client.key_value_set(f"{key}/{count}", piece)
            count += 1
        # Last, so that a process which sees this key finds all pieces.
        self._client.key_value_set(key, str(count))

    def commands(self) -> Iterator[dict[str, Any]]:
        """Yield what process 0 publishes, until it ends."""
        while (message := self._next_message()) != _END:
            yield message

    def leave(self) -> None:
        """End the job: process 0 says that this was all, and every process goes."""
        import jax

        if self.leads:
            self.publish(_END)
        with contextlib.suppress(Exception):  # a process that is gone already is no matter now
            # At a barrier, as process 0 holds the store: were it gone first, the others would fail
            # in it.
            self._client.wait_at_barrier(f"{_KEYS}/end", 1000 * PEER_TIMEOUT_S)
            jax.distributed.shutdown()

    def start_beating(self) -> None:
        """Give a sign of life every `BEAT_S` seconds from now on, in a thread."""
        threading.Thread(target=self._beat, daemon=True).start()

    def watch(self) -> Iterator[list[int]]:
        """Yield, again and again, the processes that have given no sign for `PEER_TIMEOUT_S`."""
        # By this machine's clock, and by whether the number moves: clocks of two machines need not
        # agree.
        last_seen: dict[int, tuple[str | None, float]] = {}  # the beat, and when it was new
        while True:
            now = time.monotonic()
            silent = []
            for other in self._others():
                beat = self._beat_of(other)
                if other not in last_seen or last_seen[other][0] != beat:
                    last_seen[other] = (beat, now)
                if now - last_seen[other][1] > PEER_TIMEOUT_S:
                    silent.append(other)
            yield silent
            time.sleep(BEAT_S)

    def silent(self) -> list[int]:
        """Return the processes that give no sign now; called when something has failed."""
        # Four beats long, so that one which comes late does not make a process a suspect.
        before = {other: self._beat_of(other) for other in self._others()}
        time.sleep(NAMES_AFTER_S)
        return [other for other, beat in before.items() if self._beat_of(other) == beat]

    def name_of(self, processes: list[int]) -> str:
        """Return a name such as `process 1 of 4`."""
        names = ", ".join(f"process {number}" for number in processes)
        return f"{names} of {self.num_processes}"

    def _others(self) -> list[int]:
        return [number for number in range(self.num_processes) if number != self.process_id]

    def _next_key(self) -> str:
        # Both sides count for themselves: the key of the next command need not be sent.
        self._count += 1
        return f"{_KEYS}/commands/{self._count}"

    def _next_message(self) -> dict[str, Any]:
        key = self._next_key()
        count = None
        while count is None:
            # For as long as it takes: process 0 may work on, or prepare, for minutes.
            with contextlib.suppress(TimeoutError), _timeouts():
                count = int(self._client.blocking_key_value_get(key, _POLL_MS))
        pieces = []
        # The number of pieces was written last, so that they are all there: 2.5 MB of text are 3
        # pieces.
        for number in range(count):
            pieces.append(self._client.blocking_key_value_get(f"{key}/{number}", _POLL_MS))
        return json.loads("".join(pieces))

    def _beat(self) -> None:
        key = f"{_KEYS}/beats/{self.process_id}"
        number = 0
        with contextlib.suppress(Exception):  # the job has ended
            while True:
                number += 1
                # A number that grows, since the store says what a value is and not when it was
                # written.
                self._client.key_value_set(key, str(number), allow_overwrite=True)
                time.sleep(BEAT_S)

    def _beat_of(self, other: int) -> str | None:
        try:
            return self._client.key_value_try_get(f"{_KEYS}/beats/{other}")
        except Exception:  # of several kinds: none yet, or nobody to ask
            return None


def join(rendezvous: Mapping[str, Any]) -> Peer:
    """Become one process of a job.

    Args:
        rendezvous: `coordinator_address`, `num_processes` and `process_id`; empty to ask the
            cluster.

    Raises:
        RuntimeError, ValueError: the others cannot be found.
    """
    import jax

    from jaxgen.machine.jax_compat import distributed_job

    jax.distributed.initialize(
        **{**rendezvous, **_all_devices(os.environ)},
        # Machines of one job may start a minute apart. jax's own heartbeat is slower than ours,
        # which names the process that is silent.
        initialization_timeout=2 * PEER_TIMEOUT_S,
        heartbeat_timeout_seconds=100,
    )
    job = distributed_job()
    peer = Peer(job.client, process_id=job.process_id, num_processes=job.num_processes)
    peer.start_beating()
    return peer


def _all_devices(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the argument that leaves all GPUs of a Slurm node to its only process.

    Under Slurm jax gives every process the one GPU of its number on the node, which is right for a
    task a GPU, and for a task a node is GPU 0 alone. An empty list is no choice, and keeps jax from
    making its own.
    """
    tasks, nodes = environment.get("SLURM_NTASKS"), environment.get("SLURM_STEP_NUM_NODES")
    if tasks is None or tasks != nodes or "JAX_LOCAL_DEVICE_IDS" in environment:
        return {}
    return {"local_device_ids": []}


@contextlib.contextmanager
def _timeouts() -> Iterator[None]:
    """Raise TimeoutError where the store found nothing yet: it has one exception for everything."""
    try:
        yield
    except Exception as error:
        if "DEADLINE_EXCEEDED" in str(error):
            raise TimeoutError from None
        raise
