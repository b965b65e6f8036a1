"""The workers of one run: which process holds which arm, and whose failure a failure is."""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any

from jaxgen.errors import UserError
from jaxgen.executor.worker_group import Team, local_ways, own_way
from jaxgen.executor.worker_process import Progress, Worker, WorkerFailure, environment_of
from jaxgen.specs.arm import Arm
from jaxgen.specs.codec import spec_to_plain
from jaxgen.specs.measure import Isolation
from jaxgen.specs.run import Process, Run

HOST_DEVICES = "JAX_NUM_CPU_DEVICES"


class ArmFailed(Exception):
    """A worker failed while it served an arm.

    Attributes:
        arm: whose command it was.
        record: `{kind, message, traceback, signal}`.
    """

    def __init__(self, arm: str, record: dict[str, Any]):
        super().__init__(f"{arm}: {record['message']}")
        self.arm = arm
        self.record = record


def in_turn(arms: Mapping[str, Arm], process: int) -> dict[str, Arm]:
    """The arms in the order in which a pair of processes starts, loads and warms them, which alternates: of two equal
    arms the one that always came first measured 0.6 % slower over fourteen pairs of processes (the self-test of
    22 November 2026), a draw that no number of pairs in the same processes averages out."""
    return {name: arms[name] for name in (reversed(list(arms)) if process % 2 else arms)}


class Pool:
    """Starts one worker for both arms or one for each, and routes commands to them; a context manager.

    Args:
        arms: by name.
        log: the file that gets what the workers print.
        isolation: whether arms share a process; `auto` decides it.
        environment: variables for every worker, on top of what its arm asks for.
        team: has joined a job for all arms; null starts workers here.
    """

    def __init__(
        self,
        arms: Mapping[str, Arm],
        *,
        log: Path,
        isolation: Isolation = Isolation.auto,
        environment: Mapping[str, str] | None = None,
        team: Team | None = None,
    ):
        self._arms = arms
        self._environment = tuple((environment or {}).items())
        self._log_path = log
        self._stack = contextlib.ExitStack()
        self._team = team
        self._workers: dict[str, Worker | Team] = {}
        self.environments: dict[str, dict] = {}
        self._asked_isolation = isolation
        self.isolation = Isolation.auto

    def __enter__(self) -> "Pool":
        self._log = self._stack.enter_context(self._log_path.open("ab"))
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exception) -> None:
        self._stack.close()

    @property
    def pids(self) -> dict[str, int]:
        """The process of each arm."""
        return {arm: worker.pid for arm, worker in self._workers.items()}

    def load(self, arm: str, progress: Progress) -> dict:
        """Have an arm's worker load it."""
        return self.call(arm, "load", progress=progress, run=spec_to_plain(self._arms[arm].run))

    def call(self, arm: str, command: str, *, progress: Progress | None = None, **arguments) -> Any:
        """One command to the worker that holds `arm`.

        Raises:
            ArmFailed: the worker raised or died.
        """
        try:
            return self._workers[arm].call(command, progress=progress, arm=arm, **arguments)
        except WorkerFailure as failure:
            raise ArmFailed(arm, failure.record) from failure

    def each(
        self, command: str, *, by_arm: Mapping[str, Mapping] | None = None, **arguments
    ) -> dict[str, Any]:
        """One command for every arm: at the same time where each has a process of its own, else one after the other.

        For what is not timed. The first failure is raised when all have ended.

        Args:
            command: the same for all.
            by_arm: what else each arm's command takes.
            **arguments: what every command takes.
        """
        own = {arm: {**arguments, **(by_arm or {}).get(arm, {})} for arm in self._arms}
        if self.isolation is not Isolation.separate:
            return {arm: self.call(arm, command, **own[arm]) for arm in self._arms}
        executor = ThreadPoolExecutor(max_workers=len(self._arms))
        try:
            futures = {
                arm: executor.submit(self.call, arm, command, **own[arm]) for arm in self._arms
            }
            wait(futures.values())
            return {arm: future.result() for arm, future in futures.items()}
        finally:
            executor.shutdown(wait=False)  # interrupted: the threads end with their workers

    def _start(self) -> None:
        """The first arm's worker first: `auto` needs to know its platform."""
        if self._team is not None:
            self._workers = dict.fromkeys(self._arms, self._stack.enter_context(self._team))
            here: dict = self.call(next(iter(self._arms)), "hello")
            self.environments = dict.fromkeys(self._arms, here)
            self.isolation = Isolation.shared
            return
        first, *rest = self._arms
        asked = self._asked_isolation
        processes = {arm: _process_of(self._arms[arm].run) for arm in self._arms}
        alone = not rest or asked is Isolation.shared
        if (
            asked is Isolation.shared
            and len({arm.run.mesh.devices for arm in self._arms.values()}) > 1
        ):
            told = " and ".join(
                f"{self._arms[arm].run.mesh.devices} for the {arm}" for arm in self._arms
            )
            raise UserError(
                f"measure.isolation=shared has one number of devices, and the meshes need {told}; use "
                "measure.isolation=separate or auto"
            )
        self._launch(first, shares_device=not alone)
        self.environments[first] = self.call(first, "hello")
        differ = len(set(processes.values())) > 1
        on_cpu = self.environments[first]["platform"] == "cpu"
        separate = asked is Isolation.separate or (asked is Isolation.auto and (differ or on_cpu))
        self.isolation = Isolation.separate if separate else Isolation.shared
        for arm in rest:
            if separate:
                self._launch(arm, shares_device=True)
                self.environments[arm] = self.call(arm, "hello")
            else:
                self._workers[arm] = self._workers[first]
                self.environments[arm] = self.environments[first]

    def _launch(self, arm: str, *, shares_device: bool) -> None:
        asked = _process_of(self._arms[arm].run)
        process = dataclasses.replace(asked, env=(*asked.env, *self._environment))
        run, count = self._arms[arm].run, self._arms[arm].run.mesh.local_processes
        try:
            if count == 1:
                made = Worker(process, log=self._log, shares_device=shares_device)
            else:
                workers = [Worker(process, log=self._log, shares_device=True) for _ in range(count)]
                _convert(run, workers[0], log=self._log)
                made = Team(workers, ways=local_ways(count))
        except WorkerFailure as failure:
            raise ArmFailed(arm, failure.record) from failure
        self._workers[arm] = self._stack.enter_context(made)


@contextlib.contextmanager
def joined(arms: Mapping[str, Arm], log: Path) -> Iterator[Team | None]:
    """This machine's worker in the job that the arms' mesh joins; null where it joins none.

    Args:
        arms: by name; they share the worker.
        log: gets what the worker prints, if this is process 0's.

    Raises:
        UserError: the arms' meshes differ, or the others of the job cannot be found.
        ArmFailed: the worker died.
    """
    run = arms["candidate"].run
    meshes = {arm.run.mesh for arm in arms.values()}
    if not any(mesh.joins for mesh in meshes):
        yield None
        return
    if len(meshes) > 1:
        raise UserError(
            "a job of several processes is joined once, with one mesh: leave baseline.mesh out, or compare meshes with "
            "mesh.local_processes"
        )
    with tempfile.TemporaryFile() as printed:
        try:
            worker = Worker(_process_of(run), log=printed, shares_device=False)
            _convert(run, worker, log=printed)
            team = Team([worker], ways=[own_way(run.mesh)])
        except WorkerFailure as failure:
            raise ArmFailed("candidate", failure.record) from failure
        try:
            with team:
                yield team
        finally:
            if not team.process_id:
                printed.seek(0)
                with log.open("ab") as file:
                    shutil.copyfileobj(printed, file)


def worker_settings(run: Run) -> dict[str, Any]:
    """The `xla_flags` and `jax_environment` that an arm's worker would have, started now, as it would record them."""
    known = environment_of(_process_of(run), shares_device=True)
    own = {key: value for key, value in sorted(known.items()) if key.startswith("JAX_")}
    return {"xla_flags": known.get("XLA_FLAGS"), "jax_environment": own}


def _convert(run: Run, worker: Worker, *, log: IO[bytes]) -> None:
    """Before a job is joined, in another process: those of a job cannot convert a model together, and who has begun to
    cannot join."""
    plain = spec_to_plain(run)
    if not worker.call("is_converted", arm="", run=plain):
        with Worker(_process_of(run), log=log, shares_device=True) as other:
            other.call("convert", arm="", run=plain)


def _process_of(run: Run) -> Process:
    """The settings of an arm's process: as asked for, and as many host devices as its mesh has, which jax makes only
    while it starts. A number that the user has given stays; other platforms have the devices that they have."""
    asked, needed = run.process, run.mesh.host_devices
    if (
        run.mesh.devices == 1
        or needed is None
        or any(HOST_DEVICES in names for names in (os.environ, dict(asked.env)))
    ):
        return asked
    return dataclasses.replace(asked, env=(*asked.env, (HOST_DEVICES, str(needed))))
