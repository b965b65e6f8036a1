"""The processes of one arm on this machine, spoken to as one: the first is told what to do, the others follow it."""

import socket
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any

from jaxgen.executor.worker_process import Progress, Worker, WorkerFailure

_FAREWELL_S = 5.0  # for the first process to tell the others that this was all
_LAST_WORDS_S = 3.0  # between a worker's complaint and the death of the one that it complains of
_WAY = {
    "coordinator": "coordinator_address",
    "process_id": "process_id",
    "num_processes": "num_processes",
}


class Team:
    """Has `Worker`'s `call`, `pid` and `close`.

    Args:
        workers: started; they go with the team.
        ways: for each, how it joins: what `jax.distributed.initialize` takes, empty to ask the cluster.

    Attributes:
        process_id, num_processes: the first worker's place in the job.

    Raises:
        WorkerFailure: one of them could not join.
    """

    def __init__(self, workers: Sequence[Worker], *, ways: Sequence[Mapping[str, Any]]):
        self._workers = list(workers)
        self._sound = False
        try:
            for worker, way in zip(self._workers, ways, strict=True):
                worker.send("join", arm="", way=dict(way))
            places = [self._answer(worker, "join") for worker in self._workers]
        except BaseException:
            self.close()
            raise
        self.process_id: int = places[0]["process_id"]
        self.num_processes: int = places[0]["num_processes"]
        for worker in self._workers[1:]:
            worker.send("follow", arm="")
        self._sound = True

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    @property
    def leads(self) -> bool:
        """Whether the first process here is process 0 of the job."""
        return self.process_id == 0

    @property
    def pid(self) -> int:
        """Of the first process."""
        return self._workers[0].pid

    def call(self, command: str, *, progress: Progress | None = None, **arguments) -> Any:
        """One command to the first process; the others hear of it from there.

        Raises:
            UserError: it found something that the user can mend.
            WorkerFailure: one of them raised or died; the message says which.
        """
        first = self._workers[0]
        try:
            first.send(command, **arguments)
            return self._answer(first, command, progress=progress)
        except WorkerFailure as failure:
            self._sound = False
            raise self._cause(command) or failure from None

    def follow(self) -> None:
        """Do what process 0, on another machine, does, until it ends.

        Raises:
            UserError, WorkerFailure: as `call`.
        """
        self.call("follow", arm="")

    def close(self) -> None:
        """End all of them, the first one first: it tells the others, wherever they are."""
        for worker in self._workers:
            worker.close(patience_s=_FAREWELL_S if self._sound and not worker.follows else 0.5)

    def _answer(self, worker: Worker, command: str, *, progress: Progress | None = None) -> Any:
        """A worker's answer; what any other has to say meanwhile can only be bad."""
        others = [other for other in self._workers if other is not worker and other.follows]
        while True:
            ready = wait([worker.connection, *(other.connection for other in others)])
            for other in others:
                if other.connection in ready:
                    raise self._fell(other, command)
            done, value = worker.receive(command, progress=progress)
            if done:
                return value

    def _cause(self, command: str) -> WorkerFailure | None:
        """The one whose end made the first process fail, if there is one."""
        others = [other for other in self._workers if other.follows]
        ready = wait([other.connection for other in others], timeout=_LAST_WORDS_S)
        fallen = next((other for other in others if other.connection in ready), None)
        return None if fallen is None else self._fell(fallen, command)

    def _fell(self, worker: Worker, command: str) -> WorkerFailure:
        number = self._workers.index(worker)
        try:
            worker.receive(command)
        except WorkerFailure as failure:
            told = f"process {number} of {len(self._workers)}: {failure.record['message']}"
            return WorkerFailure({**failure.record, "message": told})
        return WorkerFailure(
            {"kind": "died", "message": f"process {number} left", "traceback": None, "signal": None}
        )


def local_ways(count: int) -> list[dict[str, Any]]:
    """How processes of this machine find each other: at a port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        {"coordinator_address": f"127.0.0.1:{port}", "num_processes": count, "process_id": number}
        for number in range(count)
    ]


def own_way(mesh: Any) -> dict[str, Any]:
    """How the one process of a mesh that joins a job finds the others."""
    return {
        theirs: getattr(mesh, ours)
        for ours, theirs in _WAY.items()
        if getattr(mesh, ours) is not None
    }
