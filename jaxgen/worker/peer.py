"""A worker's place in a job of several processes: process 0 is told what to do, and the others do as it does.

Every collective needs every process, in one order. So process 0 publishes each command before it begins with it, in the
key-value store of jax.distributed, and the others take the commands from there, one after the other. What they are told
to write goes into a folder that ends with them.
"""

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PEER_TIMEOUT_S = 30
"""A process that gives no sign for so long is taken for dead."""
BEAT_S = 1.0
NAMES_AFTER_S = 4 * BEAT_S
"""When something has failed: who gave no sign for so long is named as the cause."""

_KEYS = "jaxgen"
_PIECE = 2**20  # characters: a value is one message, which may not be of any size
_POLL_MS = 5000
_WRITES = ("path", "folder", "dump")
"""Arguments of commands that are places to write to."""


class Peer:
    """This process among the others.

    Args:
        way: `coordinator_address`, `num_processes` and `process_id`; empty to ask the cluster.

    Attributes:
        process_id, num_processes: which it is, of how many.
    """

    def __init__(self, way: Mapping[str, Any]):
        import jax

        from jaxgen.machine.jax_compat import distributed_job

        jax.distributed.initialize(
            **{**way, **_all_devices(os.environ)},
            initialization_timeout=2 * PEER_TIMEOUT_S,
            heartbeat_timeout_seconds=100,
        )
        job = distributed_job()
        self._client = job.client
        self.process_id = job.process_id
        self.num_processes = job.num_processes
        self._count = 0
        threading.Thread(target=self._beat, daemon=True).start()

    @property
    def leads(self) -> bool:
        """Process 0 alone is told what to do, and tells the others."""
        return self.process_id == 0

    def tell(self, message: Mapping[str, Any]) -> None:
        """Publish a command."""
        key, text = self._next_key(), json.dumps(message)
        pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
        for number, piece in enumerate(pieces):
            self._client.key_value_set(f"{key}/{number}", piece)
        self._client.key_value_set(key, str(len(pieces)))  # last: whoever sees it finds all

    def commands(self) -> Iterator[dict[str, Any]]:
        """What process 0 publishes, until it ends."""
        with tempfile.TemporaryDirectory(prefix="jaxgen-follower-") as folder:
            while (message := self._told())["command"] != "end":
                yield _private(message, Path(folder))

    def leave(self) -> None:
        """Tell the others that this was all, and go when they do."""
        import jax

        if self.leads:
            self.tell({"command": "end"})
        with contextlib.suppress(Exception):  # whoever is gone already is no matter now
            self._client.wait_at_barrier(f"{_KEYS}/end", 1000 * PEER_TIMEOUT_S)
            jax.distributed.shutdown()

    def watch(self) -> Iterator[list[int]]:
        """The processes that have given no sign for `PEER_TIMEOUT_S`, asked again and again; it takes its time."""
        seen: dict[int, tuple[str | None, float]] = {}
        while True:
            now, silent = time.monotonic(), []
            for other in self._others():
                beat = self._beat_of(other)
                if other not in seen or seen[other][0] != beat:
                    seen[other] = (beat, now)
                if now - seen[other][1] > PEER_TIMEOUT_S:
                    silent.append(other)
            yield silent
            time.sleep(BEAT_S)

    def silent(self) -> list[int]:
        """The processes that give no sign now; asked when something has failed."""
        before = {other: self._beat_of(other) for other in self._others()}
        time.sleep(NAMES_AFTER_S)
        return [other for other, beat in before.items() if self._beat_of(other) == beat]

    def named(self, processes: list[int]) -> str:
        """Such as `process 1 of 4`."""
        return f"{', '.join(f'process {number}' for number in processes)} of {self.num_processes}"

    def _others(self) -> list[int]:
        return [number for number in range(self.num_processes) if number != self.process_id]

    def _next_key(self) -> str:
        self._count += 1
        return f"{_KEYS}/commands/{self._count}"

    def _told(self) -> dict[str, Any]:
        key = self._next_key()
        count = None
        while count is None:
            with contextlib.suppress(TimeoutError), _timeouts():
                count = int(self._client.blocking_key_value_get(key, _POLL_MS))
        pieces = (
            self._client.blocking_key_value_get(f"{key}/{number}", _POLL_MS)
            for number in range(count)
        )
        return json.loads("".join(pieces))

    def _beat(self) -> None:
        number = 0
        with contextlib.suppress(Exception):  # the job has ended
            while True:
                number += 1
                self._client.key_value_set(
                    f"{_KEYS}/beats/{self.process_id}", str(number), allow_overwrite=True
                )
                time.sleep(BEAT_S)

    def _beat_of(self, other: int) -> str | None:
        try:
            return self._client.key_value_try_get(f"{_KEYS}/beats/{other}")
        except Exception:  # of several kinds: none yet, or nobody to ask
            return None


def _all_devices(environment: Mapping[str, str]) -> dict[str, Any]:
    """What jax is told where Slurm has one process on a node: to leave it all GPUs.

    Under Slurm jax gives every process the one GPU of its number on the node, which is right for a task a GPU, and for
    a task a node is GPU 0 alone. An empty list is no choice, and keeps jax from making its own.
    """
    tasks, nodes = environment.get("SLURM_NTASKS"), environment.get("SLURM_STEP_NUM_NODES")
    alone = tasks is not None and tasks == nodes and "JAX_LOCAL_DEVICE_IDS" not in environment
    return {"local_device_ids": []} if alone else {}


@contextlib.contextmanager
def _timeouts() -> Iterator[None]:
    """A get that found nothing yet raises what it raises for everything."""
    try:
        yield
    except Exception as error:
        if "DEADLINE_EXCEEDED" in str(error):
            raise TimeoutError from None
        raise


def _private(message: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The command with this process's own places to write to. What `learn` reads is where it is said to be, unless this
    process has written it too."""
    for key in _WRITES:
        if message.get(key) is not None:
            own = folder / Path(message[key]).name
            message[key] = str(
                own if message["command"] != "learn" or own.exists() else message[key]
            )
    return message
