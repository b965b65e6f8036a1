"""No cache: every step runs the whole prefix again. The baseline that the seed benchmarks compare with."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import Kept
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
    batch: int = dataclasses.field(metadata={"static": True})
    visible: int = dataclasses.field(metadata={"static": True})
    static_shape: bool = dataclasses.field(metadata={"static": True})
    window: int | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def create(
        cls,
        spec: NoCache,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        dtype,
        needed: Sequence[int] = (),
    ) -> Self:
        """`architecture` and `dtype` do not matter: nothing is kept."""
        del architecture, dtype, needed
        return cls(batch=batch, visible=capacity, static_shape=spec.pad, window=spec.window)

    def positions(self, time: int) -> Int[Array, "B T"]:
        """0 to `time` - 1: every call starts at the beginning."""
        return jnp.broadcast_to(jnp.arange(time, dtype=jnp.int32), (self.batch, time))

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Causal attention within the call."""
        del layer
        positions = self.positions(q.shape[1])
        return attention(q, k, v, causal_mask(positions, positions, self.window)), self

    def kept(self, layer: int) -> tuple[Kept, Kept, Int[Array, "B S"]]:
        """Never asked for: `incremental` says that nothing is kept."""
        raise NotImplementedError("without a cache there is nothing to continue from")

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Nothing to move."""
        del counts
        return self

    def reading(self, depth: int) -> Self:
        """Run the first `depth` tokens of the prefix."""
        return dataclasses.replace(self, visible=depth)
