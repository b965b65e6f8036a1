"""What a request for scores must move and compute: arithmetic over shapes, beside any clock."""

from jaxgen import caches
from jaxgen.engine.engine import Engine
from jaxgen.engine.scoring.prepared import Prepared
from jaxgen.measure import byte_counts, roofline
from jaxgen.measure.roofline import Step
from jaxgen.specs.architecture import Architecture
from jaxgen.workloads import cost


def request_step(engine: Engine, prepared: Prepared) -> Step:
    """Return the work of one device: the query once, where it is reused, and each batch of rows.

    Args:
        engine: the arm's.
        prepared: the request on the device.
    """
    architecture = engine.cut.part(engine.blueprint.structure.architecture)
    element = byte_counts.ElementBytes.of(engine.run.dtype, architecture)
    # Among the labels their rows of the head are read, else all of it.
    heads = len(prepared.labels) if prepared.apply_softmax else None
    steps, start = _query_steps(engine, prepared, architecture)
    # Continued rows see the query before them, whole rows nothing.
    batches = [(batch, start) for batch in prepared.continued]
    batches += [(batch, 0) for batch in prepared.whole]
    for batch, before in batches:
        count, tokens = batch.tokens.shape
        step = roofline.forward(
            architecture,
            element,
            rows=count // engine.cut.batch,
            tokens=tokens,
            depth=before + tokens,
            kept=False,
            logits=heads,
        )
        steps.append(step)
    nbytes = sum(step.nbytes for step in steps)
    flops = sum(step.flops for step in steps)
    return Step(nbytes=nbytes, flops=flops)


def _query_steps(
    engine: Engine, prepared: Prepared, architecture: Architecture
) -> tuple[list[Step], int]:
    """The work of the query, and how many of its slots each row that continues it reads."""
    if prepared.prefix is None:
        return [], 0
    width = prepared.prefix.query.shape[1]
    slots = engine.run.cache.reserved([width], width)
    query = roofline.forward(
        architecture,
        byte_counts.ElementBytes.of(engine.run.dtype, architecture),
        rows=1,
        tokens=width,
        depth=width,
        kept=caches.kind(engine.run.cache).incremental,
        logits=0,
        slots=slots,
    )
    # Each batch of continued rows reads the query's slots, no more than a window has.
    start = min(width, slots)
    nbytes = start * cost.token_bytes(engine, architecture)
    read = Step(nbytes=nbytes, flops=0.0)
    return [query] + [read] * len(prepared.continued), start
