"""The conversion of a Hugging Face model, before the processes of a job join each other."""

from typing import IO

from jaxgen.executor.process_settings import process_of
from jaxgen.executor.source import plain_run
from jaxgen.executor.worker_process import Worker
from jaxgen.specs.run import Run


def convert_before_joining(run: Run, worker: Worker, *, log: IO[bytes]) -> None:
    """Convert an arm's model in a process of its own, unless that is done.

    The processes of a job cannot convert a model together, and one that has begun to convert
    cannot join any more.

    Args:
        run: the arm's spec.
        worker: of the job, not joined yet; it is asked whether the checkpoint exists.
        log: gets what the converting process prints.
    """
    plain = plain_run(run)
    # The worker is asked, as looking at checkpoints imports jax, which this process must not.
    if worker.call("is_converted", run=plain):
        return
    with Worker(process_of(run), log=log, shares_device=True) as converter:
        converter.call("convert", run=plain)
