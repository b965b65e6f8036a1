"""A batch as a run's workload has it: its buckets, its seed, and buffers for what it captures."""

from collections.abc import Sequence

from jaxgen.engine.batch import Batch, make_batch
from jaxgen.engine.capture import Captured
from jaxgen.engine.programs import Blueprint
from jaxgen.specs.cache import CacheSpec
from jaxgen.specs.workload import Generate


def run_batch(
    prompts: Sequence[Sequence[int]],
    *,
    workload: Generate,
    cache: CacheSpec,
    blueprint: Blueprint,
    first_row: int,
    capacity: int,
    new_tokens: int | None,
    limits: Sequence[int] = (),
) -> Batch:
    """Put one batch of a run on the device.

    Args:
        prompts: token ids of each row.
        workload: the run's.
        cache: its spec.
        blueprint: of the programs.
        first_row: the number of the first prompt in the run.
        capacity: slots of a row in the cache.
        new_tokens: the most per row; null takes `workload.max_new_tokens`.
        limits: the most for each row; empty where all get `new_tokens`.

    Raises:
        UserError: no bucket holds the prompts, or the model has no layer that is captured.
    """
    # All that a batch needs of the run, so that the engine itself stays short.
    structure = blueprint.structure
    if new_tokens is None:
        new_tokens = workload.max_new_tokens
    batch = make_batch(
        prompts,
        first_row=first_row,
        capacity=capacity,
        new_tokens=new_tokens,
        cache=cache,
        seed=workload.seed,
        limits=limits,
        token_buckets=workload.token_buckets,
        batch_buckets=workload.batch_buckets,
        layout=structure.layout,
    )
    # The buffers are part of the state: each program takes them and returns them with it.
    captured = Captured.empty(
        blueprint.capture,
        structure.architecture,
        rows=batch.rows,
        steps=batch.new_tokens,
        dtype=blueprint.activations,
        layout=structure.layout,
    )
    if captured is None:
        return batch
    return batch.with_captured(captured)
