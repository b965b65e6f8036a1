"""The processes of one arm on this machine, spoken to as one.

The first process gets the commands. The others follow it: it publishes what it is about to do.
"""

import socket
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any

from jaxgen.executor.worker_process import Progress, Worker, WorkerFailure
from jaxgen.specs.mesh import Mesh

_CLOSE_TIMEOUT_S = 5.0  # for the first process to tell the others that this was all
_KILL_TIMEOUT_S = 0.5  # for a process that has nothing to tell any more
_ERROR_GRACE_S = 3.0  # between a worker's complaint and the death of the one that it complains of


class WorkerGroup:
    """Workers that join one job; use it as a context manager, which makes them join.

    Args:
        workers: started; the group ends them.
        rendezvous: for each, how it joins: what `jax.distributed.initialize` takes, empty to ask
            the cluster.

    Attributes:
        process_id, num_processes: the first worker's number in the job, and how many there are,
            once they have joined.
    """

    def __init__(self, workers: Sequence[Worker], *, rendezvous: Sequence[Mapping[str, Any]]):
        self._workers = list(workers)
        self._rendezvous = list(rendezvous)
        self._healthy = False
        self.process_id = 0
        self.num_processes = 0

    def __enter__(self) -> "WorkerGroup":
        try:
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    @property
    def leads(self) -> bool:
        """Whether the first process here is process 0 of the job."""
        return self.process_id == 0

    def call(
        self, command: str, *, arm: str = "", progress: Progress | None = None, **arguments
    ) -> Any:
        """Send one command to the first process, which publishes it to the others.

        Raises:
            UserError: the process found something that the user can mend.
            WorkerFailure: one of them raised or died; the message says which.
        """
        first = self._workers[0]
        try:
            first.send(command, arm=arm, **arguments)
            return self._answer_of(first, command, progress=progress)
        except WorkerFailure as failure:
            # A job that has lost a process cannot end together: `close` does not wait for its
            # goodbye.
            self._healthy = False
            # What the first one complains of may be no more than the death of another.
            raise self._failure_of_another(command) or failure from None

    def follow(self) -> None:
        """Do what process 0, on another machine, does, until it ends.

        Raises:
            UserError, WorkerFailure: as `call`.
        """
        self.call("follow")

    def close(self) -> None:
        """End all processes, the first one first: it tells the others, wherever they are."""
        for worker in self._workers:
            has_others_to_tell = self._healthy and not worker.follows
            worker.close(timeout_s=_CLOSE_TIMEOUT_S if has_others_to_tell else _KILL_TIMEOUT_S)

    def _join(self) -> None:
        """Make the processes one job.

        Raises:
            UserError, WorkerFailure: one of them could not join.
        """
        # All are told before one answers: each waits for the others before it does.
        for worker, rendezvous in zip(self._workers, self._rendezvous, strict=True):
            worker.send("join", rendezvous=dict(rendezvous))
        # Numbers are known only now: of a cluster's job nobody here knew which process this is.
        answers = [self._answer_of(worker, "join") for worker in self._workers]
        self.process_id = answers[0]["process_id"]
        self.num_processes = answers[0]["num_processes"]
        for worker in self._workers[1:]:
            worker.send("follow")
        self._healthy = True

    def _answer_of(self, worker: Worker, command: str, *, progress: Progress | None = None) -> Any:
        """Return a worker's answer, unless a follower reports a failure meanwhile."""
        followers = self._followers(worker)
        # The followers are watched too: if one of them dies in a collective, the first one waits
        # for ever.
        connections = [follower.connection for follower in followers]
        while True:
            ready = wait([worker.connection, *connections])
            for follower in followers:
                # A follower answers nothing while all goes well.
                if follower.connection in ready:
                    raise self._failure_of(follower, command)
            done, value = worker.receive(command, progress=progress)
            if done:
                return value

    def _failure_of_another(self, command: str) -> WorkerFailure | None:
        """Return the failure of the follower that made the first process fail, if there is one."""
        followers = self._followers(self._workers[0])
        ready = wait([follower.connection for follower in followers], timeout=_ERROR_GRACE_S)
        for follower in followers:
            if follower.connection in ready:
                return self._failure_of(follower, command)
        return None

    def _followers(self, worker: Worker) -> list[Worker]:
        return [other for other in self._workers if other.follows and other is not worker]

    def _failure_of(self, worker: Worker, command: str) -> WorkerFailure:
        """Return the failure of a follower whose connection is readable; its message names it."""
        number = self._workers.index(worker)
        try:
            worker.receive(command)
        except WorkerFailure as failure:
            text = failure.record["message"]
            message = f"process {number} of {len(self._workers)}: {text}"
            return WorkerFailure({**failure.record, "message": message})
        record = {"kind": "died", "message": f"process {number} left"}
        return WorkerFailure({**record, "traceback": None, "signal": None})


def local_rendezvous(count: int) -> list[dict[str, Any]]:
    """Return how `count` processes of this machine find each other: at a port that is free now."""
    with socket.socket() as probe:
        # Port 0 lets the system choose. The port is free again once this socket closes, so that
        # process 0 can take it; should another program be faster, joining fails.
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    rendezvous = []
    for number in range(count):
        rendezvous.append(
            {"coordinator_address": address, "num_processes": count, "process_id": number}
        )
    return rendezvous


def mesh_rendezvous(mesh: Mesh) -> dict[str, Any]:
    """Return how the one process of a mesh that joins a job finds the others."""
    arguments = {
        "coordinator_address": mesh.coordinator,
        "process_id": mesh.process_id,
        "num_processes": mesh.num_processes,
    }
    # What is not given, jax asks the cluster for.
    return {name: value for name, value in arguments.items() if value is not None}
