"""The preallocated cache: shapes never change, so that one compiled step serves every token, in place."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches.buffers import Buffer, buffers
from jaxgen.caches.layers import replaced
from jaxgen.caches.protocol import Place
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import Kept
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Fixed


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FixedCache:
    """One array of B rows of max_len slots per layer for keys and for values, donated from step to step.

    A row's tokens lie in slots 0 to `lengths[row]` - 1. What right padding leaves beyond them is never seen: a query
    at position p looks at slots up to p, and each slot is overwritten before its position comes.

    With a window there are no more slots than that, a ring: position p lies in slot p modulo their number. After 6
    tokens in a ring of 4, the slots hold positions 4, 5, 2, 3. Positions themselves go on and on.

    Attributes:
        lengths: tokens kept per row.
        visible: how many slots `attend` reads (static: another depth is another program). Attention over a slice
            keeps XLA on CPU from copying whole caches and makes a short text in a long cache as fast as in a short one.
        ring: slots of a row whose text may be longer than they are (static); null where it cannot.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = True
    keys: tuple[Buffer, ...]
    values: tuple[Buffer, ...]
    lengths: Int[Array, "B"]
    visible: int = dataclasses.field(metadata={"static": True})
    ring: int | None = dataclasses.field(default=None, metadata={"static": True})

    @classmethod
    def create(
        cls,
        spec: Fixed,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        dtype,
        needed: Sequence[int] = (),
    ) -> Self:
        """`capacity` is `max_len`: the slots of a row, all visible at first; a window may allow fewer."""
        del needed
        slots = spec.slots(capacity)
        return cls(
            keys=buffers(spec.layout, architecture, batch=batch, slots=slots, dtype=dtype),
            values=buffers(spec.layout, architecture, batch=batch, slots=slots, dtype=dtype),
            lengths=jnp.zeros((batch,), jnp.int32),
            visible=slots,
            ring=slots if slots < capacity else None,
        )

    @property
    def static_shape(self) -> bool:
        """Every step has the shapes of the one before."""
        return True

    def positions(self, time: int) -> Int[Array, "B T"]:
        """The positions after the tokens kept so far; a position is its slot, or its slot modulo the ring."""
        return self.lengths[:, None] + jnp.arange(time, dtype=jnp.int32)[None, :]

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Write at each row's length, attend over the visible slots.

        The caller keeps `lengths + T <= visible <= max_len`: `dynamic_update_slice` would clamp in silence. In a ring
        that holds until it is full; then T is 1. A prompt may be longer than a ring that is empty.
        """
        if self.ring is not None and q.shape[1] > self.ring:
            return self._attend_long_prompt(layer, q, k, v)
        starts = self.lengths if self.ring is None else self.lengths % self.ring
        keys, values = self.keys[layer].written(k, starts), self.values[layer].written(v, starts)
        slots = self._positions_held(self.lengths + q.shape[1] - 1)
        mask = causal_mask(self.positions(q.shape[1]), slots)
        context = attention(q, keys.first(self.visible), values.first(self.visible), mask)
        return context, self._with_layer(layer, keys, values)

    def kept(self, layer: int) -> tuple[Kept, Kept, Int[Array, "B S"]]:
        """The visible slots; those from `lengths` on hold padding or nothing."""
        slots = self._positions_held(self.lengths - 1)
        named = jnp.where(slots < self.lengths[:, None], jnp.maximum(slots, -1), -1)
        return self.keys[layer].first(self.visible), self.values[layer].first(self.visible), named

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` more tokens per row, of a long prompt the last ones that the ring holds."""
        moved = dataclasses.replace(self, lengths=self.lengths + counts)
        if self.ring is None or self.keys[0].slots == self.ring:
            return moved
        # At a negative position nothing is: some slot that no query sees is as good as another.
        newest = jnp.maximum(moved._positions_held(moved.lengths - 1, slots=self.ring), 0)
        return dataclasses.replace(
            moved,
            keys=tuple(layer.taken(newest) for layer in self.keys),
            values=tuple(layer.taken(newest) for layer in self.values),
        )

    def opened(self, place: Place) -> Self:
        """A copy of the row, from its first slot on."""

        def row(buffers):
            return jax.tree.map(
                lambda buffer: jax.lax.dynamic_slice_in_dim(buffer, place.slot, 1, axis=0), buffers
            )

        return dataclasses.replace(
            self, keys=row(self.keys), values=row(self.values), lengths=jnp.zeros((1,), jnp.int32)
        )

    def closed(self, place: Place, row: Self) -> Self:
        """The row put back in its place."""

        def whole(buffers, parts):
            return jax.tree.map(
                lambda buffer, part: jax.lax.dynamic_update_slice_in_dim(
                    buffer, part, place.slot, axis=0
                ),
                buffers,
                parts,
            )

        return dataclasses.replace(
            self,
            keys=whole(self.keys, row.keys),
            values=whole(self.values, row.values),
            lengths=self.lengths.at[place.slot].set(row.lengths[0]),
        )

    def only(self, rows: Bool[Array, "B"]) -> Self:
        """Every row writes into its own slots, whatever it is."""
        del rows
        return self

    def reading(self, depth: int) -> Self:
        """See the first `depth` slots, at most all of them."""
        return dataclasses.replace(self, visible=min(depth, self.keys[0].slots))

    def _attend_long_prompt(
        self, layer: int, q: Array, k: Array, v: Array
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Within the call alone: the ring is empty. All of it stays until `advance` says how long each row is: right
        padding would go round the ring and overwrite what is needed."""
        keys, values = self.keys[layer].holding(k), self.values[layer].holding(v)
        time, positions = q.shape[1], self.positions(q.shape[1])
        context = attention(
            q, keys.first(time), values.first(time), causal_mask(positions, positions, self.ring)
        )
        return context, self._with_layer(layer, keys, values)

    def _with_layer(self, layer: int, keys: Buffer, values: Buffer) -> Self:
        return dataclasses.replace(
            self, keys=replaced(self.keys, layer, keys), values=replaced(self.values, layer, values)
        )

    def _positions_held(
        self, newest: Int[Array, "B"], slots: int | None = None
    ) -> Int[Array, "B S"]:
        """The position in each visible slot once `newest` is written; in a ring, negative where nothing is yet."""
        count = self.visible if slots is None else slots
        each = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32), (newest.shape[0], count))
        return each if self.ring is None else newest[:, None] - (newest[:, None] - each) % self.ring
