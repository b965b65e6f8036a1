"""The workers of one run: which process holds which arm, and whose failure a failure is."""

import contextlib
import dataclasses
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.executor import padding as paddings
from jaxgen.executor.conversion import convert_before_joining
from jaxgen.executor.process_settings import process_of
from jaxgen.executor.source import plain_run
from jaxgen.executor.worker_group import WorkerGroup, local_rendezvous
from jaxgen.executor.worker_process import Progress, Worker, WorkerFailure
from jaxgen.specs.arm import Arm
from jaxgen.specs.measure import Isolation


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


def start_order(arms: Mapping[str, Arm], process: int, *, seed: int) -> dict[str, Arm]:
    """Return the arms in the order in which a pair of processes starts, loads and warms them.

    Who starts first may be worth a part of a percent, which no number of blocks in the same
    processes averages out. The order alternates from pair to pair, so that an even number of pairs
    cancels it; who is first in the first pair is drawn, so that it is not always the candidate.

    Args:
        arms: by name.
        process: the number of the pair of processes.
        seed: `measure.seed`.
    """
    names = sorted(arms)
    # A generator of its own: the order of starting must not follow that of the trials.
    draw = random.Random(f"who starts first: {seed}").getrandbits(1)
    if (draw + process) % 2:
        names.reverse()
    return {name: arms[name] for name in names}


class Pool:
    """Starts one worker for both arms or one for each, and routes commands to them.

    A context manager: the workers start with it and end with it.

    Args:
        arms: by name, the one that starts first in front.
        isolation: `measure.isolation`: whether the arms share a process.
        log: the file that gets what the workers print.
        environment: variables for every worker, on top of what its arm asks for.
        padding: of each arm, the length of a variable that means nothing, as `executor.padding`
            draws it; arms that share a process have that of the one that starts it.
        group: has joined a job for all arms; null starts workers here.

    Attributes:
        environments: of each arm, what its process said of where it runs.
        isolation: `shared` or `separate`, once the workers have started.
    """

    def __init__(
        self,
        arms: Mapping[str, Arm],
        *,
        log: Path,
        isolation: Isolation = Isolation.auto,
        environment: Mapping[str, str] | None = None,
        padding: Mapping[str, int] | None = None,
        group: WorkerGroup | None = None,
    ):
        self._arms = arms
        self._environment = tuple((environment or {}).items())
        self._padding = dict(padding or {})
        self._log_path = log
        self._stack = contextlib.ExitStack()
        self._group = group
        self._workers: dict[str, Worker | WorkerGroup] = {}
        self.environments: dict[str, dict] = {}
        self.isolation = isolation

    def __enter__(self) -> "Pool":
        self._log = self._stack.enter_context(self._log_path.open("ab"))
        try:
            if self._group is not None:
                self._use(self._group)
            else:
                self._start()
        # `__exit__` is not called where `__enter__` raises, and a worker that has started would
        # stay.
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exception) -> None:
        self._stack.close()

    def load(self, arm: str, progress: Progress) -> dict:
        """Have an arm's worker load it; return the arm's facts."""
        return self.call(arm, "load", progress=progress, run=plain_run(self._arms[arm].run))

    def load_all(self) -> dict[str, dict]:
        """Have every arm's worker load it, at the same time where each has its own."""
        runs = {name: {"run": plain_run(arm.run)} for name, arm in self._arms.items()}
        return self.call_all("load", by_arm=runs)

    def call(self, arm: str, command: str, *, progress: Progress | None = None, **arguments) -> Any:
        """Send one command to the worker that holds `arm`; return its answer.

        Args:
            arm: by its name.
            command: its name in `worker.commands`.
            progress: called with (stage, done, total) while the worker is at work.
            **arguments: JSON values, as the command's class in `worker.requests` has them.

        Raises:
            ArmFailed: the worker raised or died.
        """
        try:
            return self._workers[arm].call(command, progress=progress, arm=arm, **arguments)
        except WorkerFailure as failure:
            raise ArmFailed(arm, failure.record) from failure

    def call_all(
        self, command: str, *, by_arm: Mapping[str, Mapping] | None = None, **arguments
    ) -> dict[str, Any]:
        """Send one command for every arm; return the answers by arm. For what is not timed.

        Arms with a process each work at the same time, others one after the other. The first
        failure is raised when all have ended.

        Args:
            command: the same for all.
            by_arm: what else each arm's command takes.
            **arguments: what every command takes.
        """
        arguments_of = {}
        for arm in self._arms:
            own = by_arm.get(arm, {}) if by_arm else {}
            arguments_of[arm] = {**arguments, **own}
        if self.isolation is not Isolation.separate:
            return {arm: self.call(arm, command, **arguments_of[arm]) for arm in self._arms}
        executor = ThreadPoolExecutor(max_workers=len(self._arms))
        try:
            futures = {}
            for arm in self._arms:
                futures[arm] = executor.submit(self.call, arm, command, **arguments_of[arm])
            wait(futures.values())
            return {arm: future.result() for arm, future in futures.items()}
        finally:
            executor.shutdown(wait=False)  # interrupted: the threads end with their workers

    def _use(self, group: WorkerGroup) -> None:
        """Give all arms to the workers that have joined a job."""
        self._stack.push(group)
        self._workers = dict.fromkeys(self._arms, group)
        environment: dict = self.call(next(iter(self._arms)), "hello")
        self.environments = dict.fromkeys(self._arms, environment)
        self.isolation = Isolation.shared

    def _start(self) -> None:
        """Start the processes of all arms at once, and then ask the first one where it runs."""
        self._refuse_unequal_meshes()
        first, *others = self._arms
        # Before the platform is known: a device that may be shared must not be taken as a whole.
        may_share = bool(others) and self.isolation is not Isolation.shared
        # All import at the same time, which takes on two cores as long as one import alone.
        # `auto` needs the platform, which only jax knows: a process that turns out to be one too
        # many has imported, but has not touched the device.
        started = {}
        for arm in self._arms if may_share else [first]:
            started[arm] = self._launch(arm, shares_device=may_share)
        self._greet(first, started[first])
        self.isolation = self._settled_isolation(self.environments[first]["platform"])
        for arm in others:
            if self.isolation is Isolation.separate:
                self._greet(arm, started[arm])
                continue
            for worker in started.get(arm, ()):
                worker.close(timeout_s=0.0)
            self._workers[arm] = self._workers[first]
            self.environments[arm] = self.environments[first]

    def _settled_isolation(self, platform: str) -> Isolation:
        """Return `shared` or `separate`."""
        if self.isolation is not Isolation.auto:
            return self.isolation
        # On a CPU, arms of one process would share its threads, heap and peak memory.
        # Variables, XLA flags and interpreter are settled when a process starts: arms that differ
        # in them cannot share one.
        settings = {process_of(arm.run) for arm in self._arms.values()}
        if len(settings) > 1 or platform == "cpu":
            return Isolation.separate
        return Isolation.shared

    def _refuse_unequal_meshes(self) -> None:
        """Raise where one process would need two numbers of devices."""
        devices = {name: arm.run.mesh.devices for name, arm in self._arms.items()}
        if self.isolation is Isolation.shared and len(set(devices.values())) > 1:
            needs = " and ".join(f"{count} for the {name}" for name, count in devices.items())
            raise UserError(
                f"measure.isolation=shared has one number of devices, and the meshes need {needs}; "
                "use measure.isolation=separate or auto"
            )

    def _launch(self, arm: str, *, shares_device: bool) -> list[Worker]:
        """Start an arm's process, or the several processes of its mesh; they begin to import."""
        run = self._arms[arm].run
        settings = process_of(run)
        # The last one of a name counts, so that the caller's variables, such as a cold start's
        # cache folder, win over the arm's.
        added = (*self._environment, *paddings.variables(self._padding.get(arm)))
        process = dataclasses.replace(settings, env=(*settings.env, *added))
        count = run.mesh.local_processes
        workers = []
        for _ in range(count):
            worker = Worker(process, log=self._log, shares_device=shares_device or count > 1)
            # At once: whatever fails from now on, the process ends with the pool.
            workers.append(self._stack.enter_context(worker))
        return workers

    def _greet(self, arm: str, workers: list[Worker]) -> None:
        """Wait until an arm's processes have started, joined where they are several, and ask."""
        try:
            if len(workers) == 1:
                self._workers[arm] = workers[0]
            else:
                convert_before_joining(self._arms[arm].run, workers[0], log=self._log)
                group = WorkerGroup(workers, rendezvous=local_rendezvous(len(workers)))
                self._workers[arm] = self._stack.enter_context(group)
        except WorkerFailure as failure:
            raise ArmFailed(arm, failure.record) from failure
        self.environments[arm] = self.call(arm, "hello")
