"""One layer's pages of keys and values, in the layout that the kernel reads.

No step may copy a pool from one layout into another: hence one class for each.
"""

import dataclasses
from typing import Protocol, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.ops.paged_attention import gather_pages, heads_last
from jaxgen.ops.quantisation import KVArray, cast_like, empty


class Pool(Protocol):
    """An immutable, registered pytree of four-dimensional arrays."""

    @classmethod
    def empty(
        cls, *, num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype
    ) -> Self:
        """Return pages of zeros."""
        ...

    @property
    def num_pages(self) -> int:
        """Return how many pages there are; this and every larger number stands for no page."""
        ...

    @property
    def page_size(self) -> int:
        """Return how many slots a page has."""
        ...

    def write(
        self,
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        *,
        pages: Int[Array, "B T"],
        offsets: Int[Array, "B T"],
    ) -> Self:
        """Write `k` and `v` to slot `offsets` of `pages`; what has no page is dropped."""
        ...

    def gather(self, table: Int[Array, "B M"]) -> tuple[KVArray, KVArray]:
        """Return keys and values of each row's pages side by side, (B, M*S, K, H).

        A number that stands for no page gives some page's keys and values.
        """
        ...

    def copy_page(self, source: Int[Array, "..."], target: Int[Array, "..."]) -> Self:
        """Copy page `source` to page `target`; a target that stands for no page is dropped."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HeadsFirst:
    """Keys and values apart, a head's slots of a page side by side: for XLA and the GPU kernel."""

    keys: KVArray  # K P S H
    values: KVArray  # K P S H

    @classmethod
    def empty(
        cls, *, num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype
    ) -> Self:
        """Return pages of zeros."""
        shape = (num_kv_heads, num_pages, page_size, head_dim)
        keys = empty(shape, dtype)
        values = empty(shape, dtype)
        return cls(keys=keys, values=values)

    @property
    def num_pages(self) -> int:
        """Return the second axis."""
        return self.keys.shape[1]

    @property
    def page_size(self) -> int:
        """Return the third axis."""
        return self.keys.shape[2]

    def write(
        self,
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        *,
        pages: Int[Array, "B T"],
        offsets: Int[Array, "B T"],
    ) -> Self:
        """Write one row of `head_dim` numbers per head and slot."""

        def put(pool: Array, new: Array) -> Array:
            # `drop`: a clipped index would put what has no page into somebody's last one.
            return pool.at[:, pages, offsets].set(new, mode="drop")

        def write_to(pool: KVArray, new: Array) -> KVArray:
            # Turned before it is quantised: numbers and scales then have the axes of the pool.
            heads_first = jnp.moveaxis(new, 2, 0)  # K B T H
            cast = cast_like(heads_first, pool)
            return jax.tree.map(put, pool, cast)

        return dataclasses.replace(
            self,
            keys=write_to(self.keys, k),
            values=write_to(self.values, v),
        )

    def gather(self, table: Int[Array, "B M"]) -> tuple[KVArray, KVArray]:
        """Copy the pages together, and move the heads behind the slots."""
        keys = gather_pages(self.keys, table)
        keys = heads_last(keys)
        values = gather_pages(self.values, table)
        values = heads_last(values)
        return keys, values

    def copy_page(self, source: Int[Array, "..."], target: Int[Array, "..."]) -> Self:
        """Copy a page of every head."""

        def copy(pool: Array) -> Array:
            # Where nothing is to be copied both numbers are of no page: some page is read and
            # nothing written, so that the program is the same for every text.
            page = pool.at[:, source].get(mode="clip")
            return pool.at[:, target].set(page, mode="drop")

        return jax.tree.map(copy, self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Interleaved:
    """Keys and values in one array, a slot's heads side by side: for the TPU kernel.

    A head's keys stand before its values.
    """

    pages: Float[Array, "P S 2K H"]

    @classmethod
    def empty(
        cls, *, num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype
    ) -> Self:
        """Return pages of zeros."""
        shape = (num_pages, page_size, 2 * num_kv_heads, head_dim)
        return cls(pages=jnp.zeros(shape, dtype))

    @property
    def num_pages(self) -> int:
        """Return the first axis."""
        return self.pages.shape[0]

    @property
    def page_size(self) -> int:
        """Return the second axis."""
        return self.pages.shape[1]

    def write(
        self,
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        *,
        pages: Int[Array, "B T"],
        offsets: Int[Array, "B T"],
    ) -> Self:
        """Write one row of all heads per slot."""
        batch, time, kv_heads, dim = k.shape
        # The kernel's order of two heads: k0, v0, k1, v1.
        pairs = jnp.stack([k, v], axis=3)  # B T K 2 H
        new = pairs.reshape(batch, time, 2 * kv_heads, dim)  # B T 2K H
        new = new.astype(self.pages.dtype)
        written = self.pages.at[pages, offsets].set(new, mode="drop")
        return dataclasses.replace(self, pages=written)

    def gather(self, table: Int[Array, "B M"]) -> tuple[KVArray, KVArray]:
        """Copy the pages together, and take every other head of that."""
        pages = self.pages.at[table].get(mode="clip")
        batch, width, page_size, heads, head_dim = pages.shape
        slots = width * page_size
        entries = pages.reshape(batch, slots, heads, head_dim)  # B M*S 2K H
        keys = entries[:, :, 0::2]
        values = entries[:, :, 1::2]
        return keys, values

    def copy_page(self, source: Int[Array, "..."], target: Int[Array, "..."]) -> Self:
        """Copy a page of every head."""
        page = self.pages.at[source].get(mode="clip")
        copied = self.pages.at[target].set(page, mode="drop")
        return dataclasses.replace(self, pages=copied)
