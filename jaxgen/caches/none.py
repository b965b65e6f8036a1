"""No cache: every step runs the whole prefix again. The baseline that the seed benchmarks use."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.size import CacheSize
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import NoCache


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Recompute:
    """Holds no array; queries see the keys of their own call.

    Right padding needs no mask of its own: a real token's position is before every padding token's.

    Attributes:
        batch: rows.
        visible: the tokens of the prefix that a step runs.
        static_shape: every prefix is padded to one length.
        window: positions that a query sees; null is all.
    """

    incremental: ClassVar[bool] = False
    donated: ClassVar[bool] = False
    # Static for want of an array that says it: positions need the number of rows.
    batch: int = dataclasses.field(metadata={"static": True})
    visible: int = dataclasses.field(metadata={"static": True})
    static_shape: bool = dataclasses.field(metadata={"static": True})
    window: int | None = dataclasses.field(default=None, metadata={"static": True})

    def positions(self, time: int) -> Int[Array, "B T"]:
        """Return 0 to `time` - 1: every call starts at the beginning."""
        return jnp.broadcast_to(jnp.arange(time, dtype=jnp.int32), (self.batch, time))

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Attend causally within the call."""
        del layer
        # All keys are of this call, so slots have the positions of the queries.
        positions = self.positions(q.shape[1])
        mask = causal_mask(positions, positions, self.window)
        return attention(q, k, v, mask), self

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Return the same: there is nothing to move."""
        del counts
        return self

    def with_depth(self, depth: int) -> Self:
        """Run the first `depth` tokens of the prefix."""
        return dataclasses.replace(self, visible=depth)


def create(spec: NoCache, architecture: Architecture, size: CacheSize) -> Recompute:
    """Return the cache that keeps nothing, neither of any architecture nor in any dtype."""
    del architecture
    return Recompute(
        batch=size.batch,
        visible=size.capacity,
        static_shape=spec.pad,
        window=spec.window,
    )
