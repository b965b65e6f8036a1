"""The cache that grows: keys and values are concatenated, so that every token compiles anew."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.layers import concatenate_slots, positions_after, replace_layer
from jaxgen.caches.size import CacheSize
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import KVArray, cast_like, empty
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Dynamic


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DynamicCache:
    """One (B, S, K, H) array per layer for keys and for values.

    S grows by the tokens of each call, up to the window.

    Attributes:
        slots: the position that each slot holds, -1 where it holds padding. With prompts of 2 and
            3 tokens and one step after them: slots = [[0, 1, -1, 2], [0, 1, 2, 3]], lengths =
            [3, 4]. With a window of 3 the next step sees two of them: slots = [[1, 2], [2, 3]].
        lengths: tokens kept per row.
        window: positions that a query sees (static); null is all.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = False
    keys: tuple[KVArray, ...]
    values: tuple[KVArray, ...]
    slots: Int[Array, "B S"]
    lengths: Int[Array, "B"]
    window: int | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def visible(self) -> int:
        """Return how many slots there are; each one is read."""
        return self.slots.shape[1]

    @property
    def static_shape(self) -> bool:
        """Say that every step is longer by one slot."""
        return False

    def positions(self, time: int) -> Int[Array, "B T"]:
        """Return the positions after the tokens kept so far."""
        return positions_after(self.lengths, time)

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Append to one layer and attend over all of it."""
        keys = _append(self.keys[layer], k)
        values = _append(self.values[layer], v)
        # `self.slots` stays as it is until `advance`: every layer of a step sees the same index.
        positions = self.positions(q.shape[1])
        slots = jnp.concatenate([self.slots, positions], axis=1)
        mask = causal_mask(positions, slots, self.window)
        context = attention(q, keys, values, mask)
        grown = dataclasses.replace(
            self,
            keys=replace_layer(self.keys, layer, keys),
            values=replace_layer(self.values, layer, values),
        )
        return context, grown

    def layer_kv(self, layer: int) -> tuple[KVArray, KVArray, Int[Array, "B S"]]:
        """Return every slot there is."""
        return self.keys[layer], self.values[layer], self.slots

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Give the new slots their positions; those past a row's `counts` are padding, -1."""
        # Keys and values have grown already, layer by layer; the index follows once.
        added = self.keys[-1].shape[1] - self.visible
        offsets = jnp.arange(added, dtype=jnp.int32)
        offsets = jnp.expand_dims(offsets, 0)  # 1 T
        is_token = offsets < jnp.expand_dims(counts, 1)
        positions = jnp.expand_dims(self.lengths, 1) + offsets  # B T
        new_slots = jnp.where(is_token, positions, -1)
        moved = dataclasses.replace(
            self,
            slots=jnp.concatenate([self.slots, new_slots], axis=1),
            lengths=self.lengths + counts,
        )
        return moved._within_window()

    def with_depth(self, depth: int) -> Self:
        """Return the same: everything there is gets read."""
        del depth
        return self

    def _within_window(self) -> Self:
        """Drop what the next query cannot see: it brings one of the window's positions itself."""
        if self.window is None or self.visible < self.window:
            return self
        # Window 3, 5 slots: 3 are dropped, 2 stay, and the next query brings the third.
        surplus = self.visible - (self.window - 1)
        # Rows have padding in different slots, so each row keeps its own newest ones: padding is
        # -1 and goes first.
        order = jnp.argsort(self.slots, axis=1)
        newest = order[:, surplus:]
        index = jnp.expand_dims(newest, (2, 3))

        def take(array: Array) -> Array:
            return jnp.take_along_axis(array, index, axis=1)

        slots = jnp.take_along_axis(self.slots, newest, axis=1)
        return dataclasses.replace(
            self,
            keys=jax.tree.map(take, self.keys),
            values=jax.tree.map(take, self.values),
            slots=slots,
        )


def create(spec: Dynamic, architecture: Architecture, size: CacheSize) -> DynamicCache:
    """Return a cache without any slot: the capacity does not matter."""
    shape = (size.batch, 0, architecture.num_kv_heads, architecture.head_dim)
    layers = tuple(empty(shape, size.dtype) for _ in range(architecture.num_layers))
    lengths = jnp.zeros((size.batch,), jnp.int32)
    slots = jnp.zeros((size.batch, 0), jnp.int32)
    return DynamicCache(
        keys=layers,
        values=layers,
        slots=slots,
        lengths=lengths,
        window=spec.window,
    )


def _append(stored: KVArray, new: Float[Array, "B T K H"]) -> KVArray:
    cast = cast_like(new, stored)
    return concatenate_slots(stored, cast)
