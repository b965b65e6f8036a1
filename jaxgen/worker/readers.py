"""Which engine reads given outputs: the arm's own, its float32 shadow, or either in another order.

Such an engine lives for one command. Its weights are the arm's own wherever they can be.
"""

import contextlib
from collections.abc import Iterator, Mapping

import jax

from jaxgen.checkpoints.restore import load as load_weights
from jaxgen.engine.engine import Engine
from jaxgen.engine.reordered import reordered
from jaxgen.engine.shadow import shadow_of
from jaxgen.models.sharding import shardings_of
from jaxgen.models.structure import Leaves, Structure, structure_of
from jaxgen.specs.codec import spec_from_plain
from jaxgen.specs.run import Run
from jaxgen.worker.arm import LoadedArm
from jaxgen.worker.requests import Reader

Arms = Mapping[str, LoadedArm]


@contextlib.contextmanager
def reader(arms: Arms, name: str, asked: Reader) -> Iterator[Engine]:
    """Yield the engine that reads for an arm; matrix products are as exact as it needs.

    Args:
        arms: of this process, by name.
        name: of the arm.
        asked: which of its engines.
    """
    engine = arms[name].engine
    precision = None
    if asked.in_float32:
        engine = shadow_of(engine, weights=_weights(arms, name, asked))
        # A GPU rounds the operands of float32 products to 11 bits unless it is told otherwise.
        precision = "highest"
    if asked.is_reordered:
        engine = reordered(engine)
    # What the caller computes is computed in here: pieces come as they are asked for.
    with _matmul_precision(precision):
        yield engine


@contextlib.contextmanager
def _matmul_precision(precision: str | None) -> Iterator[None]:
    if precision is None:
        yield
        return
    with jax.default_matmul_precision(precision):
        yield


def _weights(arms: Arms, name: str, asked: Reader) -> tuple[Structure, Leaves] | None:
    """Return the weights of the run that is asked for; null where they are the arm's own."""
    if asked.weights_of is None:
        return None
    run = spec_from_plain(asked.weights_of)
    own = arms[name]
    if _same_numbers(own.run, run):
        return None
    # Where one process holds both arms, the other one's are here already.
    for other in arms.values():
        same_place = other.run.mesh == own.run.mesh
        is_broken = other.run.fault.nan_weights
        if same_place and not is_broken and _same_numbers(other.run, run):
            return _structure(own, other.engine.blueprint.structure), other.engine.leaves
    loaded = load_weights(
        run.model,
        dtype=run.dtype,
        shardings=shardings_of(own.run.mesh),
    )
    return _structure(own, loaded.structure), loaded.leaves


def _structure(own: LoadedArm, of_weights: Structure) -> Structure:
    """Return what the weights belong to in the arm's own architecture: not in the other's."""
    return structure_of(own.engine.blueprint.structure.architecture, of_weights.int8)


def _same_numbers(one: Run, other: Run) -> bool:
    """Say whether two runs store equal weights; int8 ones are the same whatever meets them."""
    for run_dtype in ("weights", "float_dtype"):
        if getattr(one.dtype, run_dtype) != getattr(other.dtype, run_dtype):
            return False
    return one.model == other.model
