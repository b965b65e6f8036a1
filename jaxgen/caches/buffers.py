"""A layer's keys or values, preallocated: (B, S, K, H) to users, in one of two orders in memory."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Self, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.ops.quantisation import KVArray, cast_like, empty
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import KVLayout

_Kind = TypeVar("_Kind", bound="Buffer")

HND_ROWS = 2
"""From so many rows on a CPU reads heads first faster: slots first, XLA transposes all that a step
reads.

A step of HND against one of NHD, four layers of GPT-2's width, 1000 tokens (2 cores of an AMD EPYC,
22 November 2026): one row 0.91 times as fast, two 1.25, four 1.51; one row in bfloat16 1.30, in
int8 1.08; with 2 kv heads 1.06."""


@dataclasses.dataclass(frozen=True)
class Buffer:
    """The slots of B rows.

    Swapping the axes costs nothing: XLA makes it a part of the product that follows.

    Attributes:
        slot_axis: which axis of the array in memory counts the slots.
        array: the numbers, in the order in which they lie in memory.
    """

    slot_axis: ClassVar[int]
    array: KVArray

    @classmethod
    def empty(cls, architecture: Architecture, *, batch: int, slots: int, dtype) -> Self:
        """Return zeros, for the keys or values of one layer."""
        kv_heads = architecture.num_kv_heads
        # One of the two middle axes is the slots', by the layout; the other stays the heads'.
        shape = [batch, kv_heads, kv_heads, architecture.head_dim]
        shape[cls.slot_axis] = slots
        return cls(empty(tuple(shape), dtype))

    @property
    def slots(self) -> int:
        """Return how many slots each row has."""
        return self.array.shape[self.slot_axis]

    def first(self, count: int) -> KVArray:
        """Return the first `count` slots of each row, (B, count, K, H)."""

        def cut(array: Array) -> Array:
            return jax.lax.slice_in_dim(
                array,
                0,
                count,
                axis=self.slot_axis,
            )

        # Quantised, this is two arrays, numbers and scales, with the same axes: each is cut alike.
        slots = jax.tree.map(cut, self.array)
        return self._swap_axes(slots)

    def of_tokens(self, new: Float[Array, "B T K H"]) -> Self:
        """Return another buffer of the same kind, of T slots, that holds `new` alone."""
        cast = cast_like(new, self.array)
        return type(self)(self._swap_axes(cast))

    def write(
        self, new: Float[Array, "B T K H"], starts: int | Int[Array, ""] | Int[Array, "B"]
    ) -> Self:
        """Write `new` from one slot on in every row, or from each row's own."""

        def update(array: Array, part: Array) -> Array:
            # XLA does the plain update in place everywhere; a single row can always take it.
            if jnp.ndim(starts) == 0 or array.shape[0] == 1:
                start = jnp.reshape(starts, ())
                return _update_slots(array, part, start, axis=self.slot_axis)

            # Each row from a slot of its own: vmap makes that a scatter. A row has no batch axis
            # any more, so its slots are one axis earlier.
            def update_row(row: Array, part: Array, start: int | Array) -> Array:
                return _update_slots(row, part, start, axis=self.slot_axis - 1)

            return jax.vmap(update_row)(array, part, starts)

        # The T new slots are cast and turned, never the buffer that they go into.
        parts = self.of_tokens(new).array
        return type(self)(jax.tree.map(update, self.array, parts))

    def gather(self, slots: Int[Array, "B M"]) -> Self:
        """Return another buffer, of M slots: of each row those that `slots` names."""
        # Axes 1 and 2 are slots and heads, in one order or the other.
        head_axis = 3 - self.slot_axis
        index = jnp.expand_dims(slots, (head_axis, 3))

        def take(array: Array) -> Array:
            return jnp.take_along_axis(
                array,
                index,
                axis=self.slot_axis,
            )

        return type(self)(jax.tree.map(take, self.array))

    def _swap_axes(self, array: KVArray) -> KVArray:
        """Turn the order in memory into (B, S, K, H), or back."""
        if self.slot_axis == 1:
            return array
        return jax.tree.map(lambda part: part.swapaxes(1, 2), array)


def _registered_as(name: str) -> Callable[[type[_Kind]], type[_Kind]]:
    """Make a pytree of a kind of buffer.

    The path of its array names the kind, which is how a mesh knows the array's axes.
    """

    def register(kind: type[_Kind]) -> type[_Kind]:
        key = jax.tree_util.GetAttrKey(name)
        jax.tree_util.register_pytree_with_keys(
            kind,
            lambda buffer: (((key, buffer.array),), None),
            lambda _, children: kind(*children),
            # Every call of a program flattens every buffer. Without this, jax makes the keys first
            # and drops them again.
            lambda buffer: ((buffer.array,), None),
        )
        return kind

    return register


@_registered_as("nhd")
class NHD(Buffer):
    """(B, S, K, H): a slot has all heads side by side."""

    slot_axis = 1


@_registered_as("hnd")
class HND(Buffer):
    """(B, K, S, H): a head has all slots side by side."""

    slot_axis = 2


def choose_layout(layout: KVLayout, *, batch: int, dtype) -> KVLayout:
    """Return the layout that `cache.layout` stands for on this machine.

    Args:
        layout: as the user gave it; `auto` goes by measurement.
        batch: rows.
        dtype: of keys and values in the cache.
    """
    if layout is not KVLayout.auto:
        return layout
    # A narrow dtype is widened as it is read, and the axes are swapped on the way.
    is_narrow = jnp.dtype(dtype).itemsize < 4
    is_transposed = is_narrow or batch >= HND_ROWS
    # Measured on CPU alone: all other backends keep the plain order.
    if is_transposed and jax.default_backend() == "cpu":
        return KVLayout.HND
    return KVLayout.NHD


def empty_buffers(
    layout: KVLayout, architecture: Architecture, *, batch: int, slots: int, dtype
) -> tuple[Buffer, ...]:
    """Return zeros, for the keys or the values of each layer."""
    chosen = choose_layout(layout, batch=batch, dtype=dtype)
    kind = HND if chosen is KVLayout.HND else NHD
    layers = []
    for _ in range(architecture.num_layers):
        layers.append(kind.empty(architecture, batch=batch, slots=slots, dtype=dtype))
    return tuple(layers)


def _update_slots(array: Array, part: Array, start: int | Array, *, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(array, part, start, axis=axis)
