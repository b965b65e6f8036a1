"""How an arm is loaded in a worker: its weights restored, or shared with an arm loaded before."""

import dataclasses
import time
from collections.abc import Callable, Mapping

from jaxgen.checkpoints.restore import load as load_weights
from jaxgen.engine.engine import Engine
from jaxgen.engine.ledger import Ledger
from jaxgen.models.sharding import shardings_of
from jaxgen.specs.run import Run
from jaxgen.worker.arm import LoadedArm
from jaxgen.workloads import create
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults

Progress = Callable[[str, int, int], None]


def load_arm(
    run: Run, *, ledger: Ledger, others: Mapping[str, LoadedArm], progress: Progress
) -> LoadedArm:
    """Restore an arm's weights and read its prompts.

    Args:
        run: the arm's spec.
        ledger: counts what this process compiles.
        others: arms loaded before; equal weights are shared with them instead of loaded twice.
        progress: called for each tensor with (stage, done, total).

    Raises:
        UserError: weights, prompts and cache do not fit together.
    """
    start = time.perf_counter()
    faults = Faults(run.fault)
    # Here, outside any clock: compiled in a trial, the extra work would look like a cold arm.
    faults.compile()
    owner = next((arm for arm in others.values() if _same_weights(arm.run, run)), None)
    shardings = shardings_of(run.mesh)
    if owner is not None:
        loaded, leaves = owner.loaded, owner.engine.leaves
    else:
        loaded = load_weights(run.model, dtype=run.dtype, shardings=shardings, progress=progress)
        leaves = loaded.leaves
    # Random weights have no tokenizer: texts become UTF-8 bytes, which must fit the vocabulary.
    vocab_size = loaded.structure.architecture.vocab_size
    codec = Codec(loaded.tokenizer, vocab_size=vocab_size, random=loaded.random)
    engine = Engine(run, loaded.structure, faults.weights(leaves))
    arm = LoadedArm(
        run,
        ledger=ledger,
        # The engine alone holds the weights: it may move them, and the old ones must go then.
        loaded=dataclasses.replace(loaded, leaves=()),
        engine=engine,
        workload=create.create(engine, codec, faults=faults),
        faults=faults,
        owner=owner,
        load_s=time.perf_counter() - start,
    )
    if owner is not None:
        owner.sharers.append(arm)
    return arm


def _same_weights(one: Run, other: Run) -> bool:
    """Return whether two arms can share one copy of the weights."""
    # Arms may differ in the dtype of the cache and still hold equal weights.
    for how in ("int8", "float_dtype"):
        if getattr(one.dtype, how) != getattr(other.dtype, how):
            return False
    return (one.model, one.mesh, one.fault) == (other.model, other.mesh, other.fault)
