"""A job of several machines or processes that others start too: this machine's worker joins it."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.executor.conversion import convert_before_joining
from jaxgen.executor.pool import ArmFailed
from jaxgen.executor.process_settings import process_of
from jaxgen.executor.worker_group import WorkerGroup, mesh_rendezvous
from jaxgen.executor.worker_process import Worker, WorkerFailure
from jaxgen.specs.arm import Arm
from jaxgen.specs.mesh import Mesh


def joins_a_job(arms: Mapping[str, Arm]) -> bool:
    """Return whether the arms' workers are part of a job that others start too."""
    return any(arm.run.mesh.joins for arm in arms.values())


@contextlib.contextmanager
def joined_group(arms: Mapping[str, Arm], log: Path) -> Iterator[WorkerGroup]:
    """Yield this machine's worker, in the job that the arms' mesh joins.

    Args:
        arms: by name; they share the worker.
        log: gets what the worker prints, if it is process 0.

    Raises:
        UserError: the arms' meshes differ, or the others of the job cannot be found.
        ArmFailed: the worker died.
    """
    run = arms["candidate"].run
    if len({arm.run.mesh for arm in arms.values()}) > 1:
        raise UserError(
            "a job of several processes is joined once, with one mesh: leave baseline.mesh out, or "
            "compare meshes with mesh.local_processes"
        )
    assert isinstance(run.mesh, Mesh), "one device joins no job"
    # Whether this process may write into the run folder is known only when it has joined.
    with tempfile.TemporaryFile() as printed, contextlib.ExitStack() as stack:
        try:
            # Devices are not shared: each machine of the job has one worker, which holds both arms.
            worker = Worker(process_of(run), log=printed, shares_device=False)
            # At once: a conversion that fails must not leave the process behind.
            stack.enter_context(worker)
            convert_before_joining(run, worker, log=printed)
            group = WorkerGroup([worker], rendezvous=[mesh_rendezvous(run.mesh)])
            stack.enter_context(group)
        except WorkerFailure as failure:
            raise ArmFailed("candidate", failure.record) from failure
        try:
            with stack:
                yield group
        finally:
            if group.leads:
                printed.seek(0)
                with log.open("ab") as file:
                    shutil.copyfileobj(printed, file)


def follow(group: WorkerGroup) -> None:
    """Do what process 0 of the job does, until it ends.

    Raises:
        ArmFailed: the worker, or process 0, failed.
    """
    try:
        group.follow()
    except WorkerFailure as failure:
        raise ArmFailed("candidate", failure.record) from failure
