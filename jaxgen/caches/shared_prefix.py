"""Rows that all continue one text: a view of a cache of one row, which is read and never copied."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.protocol import ReadableCache
from jaxgen.ops.attention import causal_mask
from jaxgen.ops.prefix_attention import prefix_attention


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SharedPrefixView:
    """Good for one call: its tokens see the prefix and each other, and are not kept.

    Attributes:
        prefix: a cache of one row that holds the common text.
        rows: how many rows continue it.
        window: positions that a query sees; null is all.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = False
    prefix: ReadableCache
    rows: int = dataclasses.field(metadata={"static": True})
    window: int | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def visible(self) -> int:
        """Return how many slots of the prefix are read."""
        return self.prefix.visible

    @property
    def static_shape(self) -> bool:
        """Say that nothing grows."""
        return True

    def positions(self, time: int) -> Int[Array, "B T"]:
        """Return the positions after the prefix, the same in every row."""
        positions = self.prefix.positions(time)  # 1 T
        return jnp.broadcast_to(positions, (self.rows, time))

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Attend over the prefix, and causally within the call."""
        prefix_k, prefix_v, prefix_slots = self.prefix.layer_kv(layer)
        positions = self.prefix.positions(q.shape[1])  # 1 T
        # Right padding is after every real token and never seen, so one mask does for all rows.
        slots = jnp.concatenate([prefix_slots, positions], axis=1)
        (mask,) = causal_mask(positions, slots, self.window)
        # The prefix without its row axis: one product serves the queries of all rows.
        context = prefix_attention(
            q,
            k,
            v,
            prefix_k=prefix_k[0],
            prefix_v=prefix_v[0],
            mask=mask,
        )
        return context, self

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Return the same: nothing is kept."""
        del counts
        return self

    def with_depth(self, depth: int) -> Self:
        """See the first `depth` slots of the prefix."""
        prefix = self.prefix.with_depth(depth)
        return dataclasses.replace(self, prefix=prefix)
