"""Rows that all continue one and the same text: a view of a cache of one row, which is read and never copied."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.dynamic import DynamicCache
from jaxgen.caches.protocol import Cache
from jaxgen.ops.attention import causal_mask
from jaxgen.ops.prefix_attention import prefix_attention
from jaxgen.ops.quantisation import Kept
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Dynamic


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Branches:
    """Good for one call: its tokens see the prefix and each other, and are not kept.

    Attributes:
        prefix: a cache of one row that holds the common text, of any kind that keeps keys and values.
        rows: how many continue it.
        window: positions that a query sees; null is all.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = False
    prefix: Cache
    rows: int = dataclasses.field(metadata={"static": True})
    window: int | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def create(
        cls,
        spec,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        dtype,
        needed: Sequence[int] = (),
    ) -> Self:
        """Rows that continue the empty text."""
        del spec, needed
        nothing = DynamicCache.create(
            Dynamic(), architecture, batch=1, capacity=capacity, dtype=dtype
        )
        return cls(prefix=nothing, rows=batch)

    @property
    def visible(self) -> int:
        """Slots of the prefix that are read."""
        return self.prefix.visible

    @property
    def static_shape(self) -> bool:
        """Nothing grows."""
        return True

    def positions(self, time: int) -> Int[Array, "B T"]:
        """The positions after the prefix, the same in every row."""
        return jnp.broadcast_to(self.prefix.positions(time), (self.rows, time))

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Over the prefix, and causally within the call. Right padding is after every real token and never seen."""
        keys, values, slots = self.prefix.kept(layer)
        positions = self.prefix.positions(q.shape[1])  # 1 T
        (mask,) = causal_mask(positions, jnp.concatenate([slots, positions], axis=1), self.window)
        return prefix_attention(q, k, v, prefix_k=keys[0], prefix_v=values[0], mask=mask), self

    def kept(self, layer: int) -> tuple[Kept, Kept, Int[Array, "B S"]]:
        """The prefix, for each row."""
        return jax.tree.map(
            lambda array: jnp.broadcast_to(array, (self.rows, *array.shape[1:])),
            self.prefix.kept(layer),
        )

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Nothing to move."""
        del counts
        return self

    def reading(self, depth: int) -> Self:
        """See the first `depth` slots of the prefix."""
        return dataclasses.replace(self, prefix=self.prefix.reading(depth))
