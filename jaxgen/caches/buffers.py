"""A layer's keys or values, preallocated: (B, S, K, H) to whoever uses them, in memory in one of two orders."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Self, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.ops.quantisation import Kept, empty, kept_like
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import KVLayout

_Kind = TypeVar("_Kind", bound="Buffer")

HND_ROWS = 2
"""From so many rows on a CPU reads heads first faster: slots first, XLA transposes all that a step reads.

A step of HND against one of NHD, four layers of GPT-2's width, 1000 tokens (2 cores of an AMD EPYC, 22 November 2026):
one row 0.91 times as fast, two 1.25, four 1.51; one row in bfloat16 1.30, in int8 1.08; with 2 kv heads 1.06."""


@dataclasses.dataclass(frozen=True)
class Buffer:
    """The slots of B rows. Turning the axes round costs nothing: XLA makes it a part of the product that follows.

    Attributes:
        slot_axis: of an array as it lies in memory.
        kept: the array.
    """

    slot_axis: ClassVar[int]
    kept: Kept

    @classmethod
    def empty(cls, architecture: Architecture, *, batch: int, slots: int, dtype) -> Self:
        """Zeros, for the keys or values of one layer."""
        shape = [batch, architecture.num_kv_heads, architecture.num_kv_heads, architecture.head_dim]
        shape[cls.slot_axis] = slots
        return cls(empty(tuple(shape), dtype))

    @property
    def slots(self) -> int:
        """Of each row."""
        return self.kept.shape[self.slot_axis]

    def first(self, count: int) -> Kept:
        """(B, count, K, H): the first slots of each row."""
        axis = self.slot_axis
        return self._turned(
            jax.tree.map(lambda whole: jax.lax.slice_in_dim(whole, 0, count, axis=axis), self.kept)
        )

    def holding(self, new: Float[Array, "B T K H"]) -> Self:
        """Another one, of T slots, that holds `new` alone."""
        return type(self)(self._turned(kept_like(new, self.kept)))

    def written(
        self, new: Float[Array, "B T K H"], starts: int | Int[Array, ""] | Int[Array, "B"]
    ) -> Self:
        """`new` from one slot on in every row, or from each row's own; a single row takes the plain update, which XLA
        does in place everywhere."""

        def put(whole: Array, part: Array) -> Array:
            if jnp.ndim(starts) == 0 or whole.shape[0] == 1:
                return _updated(whole, part, jnp.reshape(starts, ()), axis=self.slot_axis)
            return jax.vmap(
                lambda row, part, start: _updated(row, part, start, axis=self.slot_axis - 1)
            )(whole, part, starts)

        return type(self)(jax.tree.map(put, self.kept, self.holding(new).kept))

    def taken(self, slots: Int[Array, "B M"]) -> Self:
        """Another one, of M slots, each row's own choice of what it holds."""
        places = jnp.expand_dims(slots, (3 - self.slot_axis, 3))
        return type(self)(
            jax.tree.map(
                lambda whole: jnp.take_along_axis(whole, places, axis=self.slot_axis), self.kept
            )
        )

    def _turned(self, kept: Kept) -> Kept:
        """From the order in memory to (B, S, K, H), and back."""
        return (
            kept if self.slot_axis == 1 else jax.tree.map(lambda array: array.swapaxes(1, 2), kept)
        )


def _with_path(name: str) -> Callable[[type[_Kind]], type[_Kind]]:
    """Makes a pytree of a kind of buffer; the path of its array names the kind, which is how a mesh knows its axes."""

    def registered(kind: type[_Kind]) -> type[_Kind]:
        key = jax.tree_util.GetAttrKey(name)
        jax.tree_util.register_pytree_with_keys(
            kind, lambda buffer: (((key, buffer.kept),), None), lambda _, parts: kind(*parts)
        )
        return kind

    return registered


@_with_path("nhd")
class NHD(Buffer):
    """(B, S, K, H): a slot has all heads side by side."""

    slot_axis = 1


@_with_path("hnd")
class HND(Buffer):
    """(B, K, S, H): a head has all slots side by side."""

    slot_axis = 2


def chosen(layout: KVLayout, *, batch: int, dtype) -> KVLayout:
    """What `cache.layout` stands for with so many rows, kept in `dtype`, on this machine."""
    if layout is not KVLayout.auto:
        return layout
    narrow = jnp.dtype(dtype).itemsize < 4  # is widened as it is read, and turned round on the way
    by_head = (batch >= HND_ROWS or narrow) and jax.default_backend() == "cpu"
    return KVLayout.HND if by_head else KVLayout.NHD


def buffers(
    layout: KVLayout, architecture: Architecture, *, batch: int, slots: int, dtype
) -> tuple[Buffer, ...]:
    """Zeros, for the keys or the values of each layer."""
    kind = HND if chosen(layout, batch=batch, dtype=dtype) is KVLayout.HND else NHD
    return tuple(
        kind.empty(architecture, batch=batch, slots=slots, dtype=dtype)
        for _ in range(architecture.num_layers)
    )


def _updated(whole: Array, part: Array, start: Int[Array, ""], *, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=axis)
