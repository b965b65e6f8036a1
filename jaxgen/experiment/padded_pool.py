"""The workers of one pair of processes of a run, whose environments differ in length by chance."""

from collections.abc import Mapping

from jaxgen.executor import padding
from jaxgen.executor.pool import Pool
from jaxgen.executor.worker_group import WorkerGroup
from jaxgen.results.files import LOG
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm
from jaxgen.specs.measure import Measure


def padded_pool(
    arms: Mapping[str, Arm],
    record: Record,
    plan: Measure,
    *,
    process: int,
    group: WorkerGroup | None,
) -> Pool:
    """Return a pool of the arms, and put the lengths of its environments' padding on record.

    Args:
        arms: in the order in which they start.
        record: of the run.
        plan: of the measurement; its seed draws the lengths.
        process: the number of the pair of processes.
        group: has joined a job for the arms, and started before anything was drawn; null starts
            workers here.
    """
    log = record.folder / LOG
    if group is not None:
        return Pool(arms, isolation=plan.isolation, log=log, group=group)
    lengths = padding.lengths(arms, seed=plan.seed, process=process)
    record.result["measurement"].setdefault("environment_padding_bytes", []).append(lengths)
    return Pool(arms, isolation=plan.isolation, log=log, padding=lengths)
