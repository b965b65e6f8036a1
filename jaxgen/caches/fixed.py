"""The preallocated cache: shapes never change, so that one compiled step serves every token."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches.buffers import Buffer, empty_buffers
from jaxgen.caches.layers import positions_after, replace_layer
from jaxgen.caches.protocol import SlotAssignment
from jaxgen.caches.size import CacheSize
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import KVArray
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Fixed


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FixedCache:
    """One array of B rows of max_len slots per layer for keys and for values, donated step to step.

    A row's tokens lie in slots 0 to `lengths[row]` - 1. What right padding leaves beyond them is
    never seen: a query at position p looks at slots up to p, and each slot is overwritten before
    its position comes.

    With a window there are no more slots than that, a ring: position p lies in slot p modulo their
    number. After 6 tokens in a ring of 4, the slots hold positions 4, 5, 2, 3. Positions themselves
    go on and on.

    Attributes:
        lengths: tokens kept per row.
        visible: how many slots `attend` reads (static: another depth is another program). Attention
            over a slice keeps XLA on CPU from copying whole caches, and makes a short text in a
            long cache as fast as in a short one.
        ring: slots of a row whose text may be longer than they are (static); null where it cannot.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = True
    keys: tuple[Buffer, ...]
    values: tuple[Buffer, ...]
    lengths: Int[Array, "B"]
    visible: int = dataclasses.field(metadata={"static": True})
    ring: int | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def static_shape(self) -> bool:
        """Say that every step has the shapes of the one before."""
        return True

    def positions(self, time: int) -> Int[Array, "B T"]:
        """Return the positions after the tokens kept so far.

        A position is its slot, or its slot modulo the ring.
        """
        return positions_after(self.lengths, time)

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Write at each row's length, attend over the visible slots.

        The caller keeps `lengths + T <= visible <= max_len`: `dynamic_update_slice` would clamp in
        silence. In a ring that holds until it is full; then T is 1. A prompt may be longer than a
        ring that is empty.
        """
        if self.ring is not None and q.shape[1] > self.ring:
            return self._attend_long_prompt(layer, q, k, v)
        # Rows are of different lengths: each writes where its own text ends.
        starts = self.lengths if self.ring is None else self.lengths % self.ring
        # In a ring of 4 a row of 6 tokens writes position 6 into slot 2, over position 2, which no
        # query sees any more.
        keys = self.keys[layer].write(k, starts)
        values = self.values[layer].write(v, starts)
        time = q.shape[1]
        # The padding of a prompt counts here: its positions are beyond every real query.
        newest = self.lengths + time - 1
        slots = self._positions_in_slots(newest, self.visible)
        mask = causal_mask(self.positions(time), slots)
        context = attention(
            q,
            keys.first(self.visible),
            values.first(self.visible),
            mask,
        )
        return context, self._with_layer(layer, keys, values)

    def layer_kv(self, layer: int) -> tuple[KVArray, KVArray, Int[Array, "B S"]]:
        """Return the visible slots; those from `lengths` on hold padding or nothing."""
        slots = self._positions_in_slots(self.lengths - 1, self.visible)
        lengths = jnp.expand_dims(self.lengths, 1)
        is_token = slots < lengths
        # A ring that is not full yet has negative positions of any size.
        positions = jnp.maximum(slots, -1)
        positions = jnp.where(is_token, positions, -1)
        keys = self.keys[layer].first(self.visible)
        values = self.values[layer].first(self.visible)
        return keys, values, positions

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` more tokens per row, of a long prompt the last ones that the ring holds."""
        # Padding that was written stays where it is: the next tokens overwrite it.
        moved = dataclasses.replace(self, lengths=self.lengths + counts)
        # Buffers differ from the ring in length after a long prompt alone, which was kept whole. A
        # prompt of 6, padded to 8, in a ring of 4: slots 0 to 3 take positions 4, 5, 2 and 3.
        if self.ring is None or self.keys[0].slots == self.ring:
            return moved
        newest = moved._positions_in_slots(moved.lengths - 1, self.ring)
        # At a negative position nothing is: some slot that no query sees is as good as another.
        newest = jnp.maximum(newest, 0)
        return dataclasses.replace(
            moved,
            keys=tuple(layer.gather(newest) for layer in self.keys),
            values=tuple(layer.gather(newest) for layer in self.values),
        )

    def open_row(self, assignment: SlotAssignment) -> Self:
        """Return a copy of the slot's row, from its first slot of the cache on."""

        def cut(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(
                array,
                assignment.slot,
                1,
                axis=0,
            )

        return dataclasses.replace(
            self,
            # The slot is traced: whichever row it is, the program is the same.
            keys=jax.tree.map(cut, self.keys),
            values=jax.tree.map(cut, self.values),
            # Whatever text was there: its slots are overwritten before they are seen.
            lengths=jnp.zeros((1,), jnp.int32),
        )

    def close_row(self, assignment: SlotAssignment, row: Self) -> Self:
        """Return all rows, with the slot's own replaced."""

        def put(array: Array, part: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(
                array,
                part,
                assignment.slot,
                axis=0,
            )

        lengths = self.lengths.at[assignment.slot].set(row.lengths[0])
        return dataclasses.replace(
            self,
            keys=jax.tree.map(put, self.keys, row.keys),
            values=jax.tree.map(put, self.values, row.values),
            lengths=lengths,
        )

    def mask_rows(self, active: Bool[Array, "B"]) -> Self:
        """Return the same: every row writes into its own slots, whatever it is."""
        del active
        return self

    def with_depth(self, depth: int) -> Self:
        """See the first `depth` slots, at most all of them."""
        slots = self.keys[0].slots
        return dataclasses.replace(self, visible=min(depth, slots))

    def _attend_long_prompt(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Attend within the call alone: the ring is empty."""
        # All of the prompt stays until `advance` says how long each row is: right padding would go
        # round the ring and overwrite what is needed.
        keys = self.keys[layer].of_tokens(k)
        values = self.values[layer].of_tokens(v)
        time = q.shape[1]
        positions = self.positions(time)
        # Each position has a slot of its own here, so the window is in the mask alone.
        mask = causal_mask(positions, positions, self.ring)
        context = attention(
            q,
            keys.first(time),
            values.first(time),
            mask,
        )
        return context, self._with_layer(layer, keys, values)

    def _with_layer(self, layer: int, keys: Buffer, values: Buffer) -> Self:
        return dataclasses.replace(
            self,
            keys=replace_layer(self.keys, layer, keys),
            values=replace_layer(self.values, layer, values),
        )

    def _positions_in_slots(self, newest: Int[Array, "B"], count: int) -> Int[Array, "B S"]:
        """Return the position in each of `count` slots once the position `newest` is written.

        In a ring it is negative where nothing is yet.
        """
        batch = newest.shape[0]
        slots = jnp.arange(count, dtype=jnp.int32)
        slots = jnp.broadcast_to(slots, (batch, count))
        if self.ring is None:
            return slots
        # How many steps before the newest position a slot was written.
        # Ring of 4, newest position 5: the ages are 1, 0, 3, 2, so the slots hold 4, 5, 2, 3. With
        # newest position 1 slot 2 has age 3 and position -2: nothing is there yet.
        newest = jnp.expand_dims(newest, 1)
        age = (newest - slots) % self.ring
        return newest - age


def create(spec: Fixed, architecture: Architecture, size: CacheSize) -> FixedCache:
    """Return an empty cache, all slots of a row visible; a window may allow few of them."""
    slots = spec.slots(size.capacity)

    def zeros() -> tuple[Buffer, ...]:
        return empty_buffers(
            spec.layout, architecture, batch=size.batch, slots=slots, dtype=size.dtype
        )

    # Where no row outgrows its slots nothing ever wraps, and the plain index does: no ring.
    return FixedCache(
        keys=zeros(),
        values=zeros(),
        lengths=jnp.zeros((size.batch,), jnp.int32),
        visible=slots,
        ring=slots if slots < size.capacity else None,
    )
