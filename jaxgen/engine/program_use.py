"""The programs that a call runs, with the shapes of their arguments: what can be lowered and looked at."""

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
        variant: what tells this use of the program from its others, such as the depth that it reads.
    """

    program: str
    bound: Bound
    arguments: tuple[Any, ...]
    variant: str = ""

    @property
    def name(self) -> str:
        """Program and variant: good for a file's name."""
        return f"{self.program}_{self.variant}" if self.variant else self.program

    @property
    def cache(self) -> Any:
        """The shapes of its cache."""
        return self.arguments[CACHE_ARGUMENT]

    def lower(self) -> Lowered | None:
        """Null under `eager`."""
        return self.bound.lower(*self.arguments)


def generation_uses(engine: Engine, batch: Batch) -> list[Use]:
    """The programs of one batch in the order of their use, with arguments like those of the true calls.

    A cache that grows has a program for every step: only the last is among them.
    """
    empty = engine.empty_cache(batch)
    found = [
        Use(
            "prefill",
            engine.prefill_program,
            (engine.leaves, shapes_of(empty), batch.prompt, batch.state),
        )
    ]
    looped = engine.generation.loop is Loop.device and empty.static_shape
    for segment in batch.segments if empty.static_shape else batch.segments[-1:]:
        cache = _before_step(engine, batch, empty, depth=segment.depth)
        if looped:
            arguments = (engine.leaves, cache, batch.state, segment.steps_on_device)
            found.append(Use("loop", engine.loop_program, arguments, variant=str(segment.depth)))
        else:
            arguments = (engine.leaves, cache, batch.state)
            found.append(Use("step", engine.step_program, arguments, variant=str(segment.depth)))
    return found


def shapes_of(tree: Any) -> Any:
    """The arrays without their numbers. Where one is not bound to its device, its shape must not be either: jax would
    take it for another program."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=leaf.sharding if leaf.committed else None
        ),
        tree,
    )


def _before_step(engine: Engine, batch: Batch, empty, *, depth: int) -> Any:
    """The shapes of the cache as the step that reads `depth` slots gets it: on a device, as a program left it."""
    cache = empty.reading(depth)
    if (
        cache.incremental and not cache.static_shape
    ):  # as a prefill of all the tokens before would have left it
        prompt = jax.ShapeDtypeStruct((batch.prompt.shape[0], depth - 1), batch.prompt.dtype)
        cache, _ = jax.eval_shape(
            lambda *args: programs.prefill(engine.blueprint, *args),
            engine.leaves,
            shapes_of(empty),
            prompt,
            batch.state,
        )
    placed = [leaf.sharding for leaf in jax.tree.leaves(empty)]
    leaves, treedef = jax.tree.flatten(cache)
    shapes = [
        jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        for leaf, sharding in zip(leaves, placed, strict=True)
    ]
    return jax.tree.unflatten(treedef, shapes)
