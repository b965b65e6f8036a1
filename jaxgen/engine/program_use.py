"""The programs that a call runs, with the shapes of their arguments: what can be lowered."""

import dataclasses
from typing import Any

import jax
from jax.stages import Lowered

from jaxgen.engine import programs
from jaxgen.engine.batch import Batch
from jaxgen.engine.binders import CACHE_ARGUMENT, Bound
from jaxgen.engine.engine import Engine
from jaxgen.specs.workload import Loop


@dataclasses.dataclass(frozen=True)
class Use:
    """One program as a call uses it.

    Attributes:
        program: its own name.
        bound: as the arm's jit strategy binds it.
        arguments: arrays, or their shapes.
        variant: what tells this use of the program from its others, such as the depth that it
            reads.
    """

    program: str
    bound: Bound
    arguments: tuple[Any, ...]
    variant: str = ""

    @property
    def name(self) -> str:
        """Program and variant: good for a file's name."""
        if self.variant:
            return f"{self.program}_{self.variant}"
        return self.program

    @property
    def cache(self) -> Any:
        """The shapes of its cache."""
        return self.arguments[CACHE_ARGUMENT]

    def lower(self) -> Lowered | None:
        """Return what a call runs; null under `eager`."""
        return self.bound.lower(*self.arguments)


def generation_uses(engine: Engine, batch: Batch) -> list[Use]:
    """Return the programs of one batch in the order of their use.

    Their arguments are like those of the true calls.

    A cache that grows has a program for every step: only the last is among them.
    """
    # The true cache, not only its shapes: where it lies is part of the program.
    empty = engine.empty_cache(batch)
    leaves, state = engine.leaves, batch.state
    arguments = (leaves, shapes_of(empty), batch.prompt, state)
    uses = [Use("prefill", engine.prefill_program, arguments)]
    in_loop = engine.generation.loop is Loop.device and empty.static_shape
    # A growing cache has a program for every step: the last one is the largest.
    segments = batch.segments if empty.static_shape else batch.segments[-1:]
    for segment in segments:
        # At each depth the cache reads another number of slots: that is another program.
        cache = _before_step(engine, batch, empty, depth=segment.depth)
        variant = str(segment.depth)
        if in_loop:
            arguments = (
                leaves,
                cache,
                state,
                segment.steps_on_device,
            )
            uses.append(
                Use(
                    "loop",
                    engine.loop_program,
                    arguments,
                    variant=variant,
                )
            )
        else:
            uses.append(
                Use(
                    "step",
                    engine.step_program,
                    (leaves, cache, state),
                    variant=variant,
                )
            )
    return uses


def shapes_of(tree: Any) -> Any:
    """Return the arrays of a tree without their numbers."""

    def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
        # Where an array is not committed to its device, its shape must not be either: jax would
        # take the call for another program.
        sharding = leaf.sharding if leaf.committed else None
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(shape_of, tree)


def _before_step(engine: Engine, batch: Batch, empty, *, depth: int) -> Any:
    """The shapes of the cache for a step at `depth` slots, on a device as a program left it."""
    cache = empty.with_depth(depth)
    if cache.incremental and not cache.static_shape:
        # It has grown: as a prefill of all the tokens before would have left it.
        prompt = jax.ShapeDtypeStruct((batch.rows, depth - 1), batch.prompt.dtype)
        cache, _ = jax.eval_shape(
            lambda *args: programs.prefill(engine.blueprint, *args),
            engine.leaves,
            shapes_of(empty),
            prompt,
            batch.state,
        )
    leaves, treedef = jax.tree.flatten(cache)
    shapes = []
    for leaf, before in zip(leaves, jax.tree.leaves(empty), strict=True):
        shapes.append(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=before.sharding))
    return jax.tree.unflatten(treedef, shapes)
