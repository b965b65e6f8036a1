"""The cache that grows: keys and values are concatenated, so that every token has a new shape and compiles anew."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.layers import joined, replaced
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import Kept, empty, kept_like
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Dynamic


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DynamicCache:
    """One (B, S, K, H) array per layer for keys and for values; S grows by the tokens of each call, up to the window.

    Attributes:
        lengths: tokens kept per row.
        slots: the position that each slot holds, -1 where it holds padding. With prompts of 2 and 3 tokens and one
            step after them: slots = [[0, 1, -1, 2], [0, 1, 2, 3]], lengths = [3, 4]. With a window of 3 the next step
            sees two of them: slots = [[1, 2], [2, 3]].
        window: positions that a query sees (static); null is all.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = False
    keys: tuple[Kept, ...]
    values: tuple[Kept, ...]
    slots: Int[Array, "B S"]
    lengths: Int[Array, "B"]
    window: int | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def create(
        cls,
        spec: Dynamic,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        dtype,
        needed: Sequence[int] = (),
    ) -> Self:
        """No slots at all: `capacity` does not matter."""
        del capacity, needed
        shape = (batch, 0, architecture.num_kv_heads, architecture.head_dim)
        nothing = tuple(empty(shape, dtype) for _ in range(architecture.num_layers))
        none_yet = jnp.zeros((batch,), jnp.int32)
        no_slots = jnp.zeros((batch, 0), jnp.int32)
        return cls(
            keys=nothing, values=nothing, slots=no_slots, lengths=none_yet, window=spec.window
        )

    @property
    def visible(self) -> int:
        """The slots there are; each one is read."""
        return self.slots.shape[1]

    @property
    def static_shape(self) -> bool:
        """Every step is longer by one slot."""
        return False

    def positions(self, time: int) -> Int[Array, "B T"]:
        """The positions after the tokens kept so far."""
        return self.lengths[:, None] + jnp.arange(time, dtype=jnp.int32)[None, :]

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Append to one layer and attend over all of it. `slots` follows in `advance`, once per step."""
        keys, values = _appended(self.keys[layer], k), _appended(self.values[layer], v)
        positions = self.positions(q.shape[1])
        slots = jnp.concatenate([self.slots, positions], axis=1)
        context = attention(q, keys, values, causal_mask(positions, slots, self.window))
        grown = dataclasses.replace(
            self, keys=replaced(self.keys, layer, keys), values=replaced(self.values, layer, values)
        )
        return context, grown

    def kept(self, layer: int) -> tuple[Kept, Kept, Int[Array, "B S"]]:
        """Every slot there is."""
        return self.keys[layer], self.values[layer], self.slots

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Name the new slots; those past a row's `counts` were padding and become -1."""
        added = self.keys[-1].shape[1] - self.slots.shape[1]
        offsets = jnp.arange(added, dtype=jnp.int32)[None, :]
        named = jnp.where(offsets < counts[:, None], self.lengths[:, None] + offsets, -1)
        slots = jnp.concatenate([self.slots, named], axis=1)
        return dataclasses.replace(
            self, slots=slots, lengths=self.lengths + counts
        )._within_window()

    def reading(self, depth: int) -> Self:
        """Everything there is gets read."""
        del depth
        return self

    def _within_window(self) -> Self:
        """What the next query may see: all but one of the window's positions, each row's own newest ones."""
        surplus = 0 if self.window is None else self.slots.shape[1] - (self.window - 1)
        if surplus <= 0:
            return self
        newest = jnp.argsort(self.slots, axis=1)[:, surplus:]  # padding, -1, goes first

        def taken(layers: tuple[Kept, ...]) -> tuple[Kept, ...]:
            return jax.tree.map(
                lambda entries: jnp.take_along_axis(entries, newest[:, :, None, None], axis=1),
                layers,
            )

        slots = jnp.take_along_axis(self.slots, newest, axis=1)
        return dataclasses.replace(
            self, keys=taken(self.keys), values=taken(self.values), slots=slots
        )


def _appended(kept: Kept, new: Float[Array, "B T K H"]) -> Kept:
    return joined(kept, kept_like(new, kept))
