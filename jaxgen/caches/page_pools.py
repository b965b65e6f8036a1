"""One layer's pages of keys and values, in the layout that the kernel reads: no step may copy a pool into another."""

import dataclasses
from typing import Protocol, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.ops.paged_attention import gathered, heads_last
from jaxgen.ops.quantisation import Kept, empty, kept_like


class Pool(Protocol):
    """An immutable, registered pytree of four-dimensional arrays."""

    @classmethod
    def empty(
        cls, *, num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype
    ) -> Self:
        """Pages of zeros."""
        ...

    @property
    def num_pages(self) -> int:
        """How many pages there are; this and what is above stands for no page."""
        ...

    @property
    def page_size(self) -> int:
        """Slots of a page."""
        ...

    def write(
        self,
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        *,
        pages: Int[Array, "B T"],
        offsets: Int[Array, "B T"],
    ) -> Self:
        """`k` and `v` in slot `offsets` of `pages`; what has no page is dropped."""
        ...

    def gathered(self, table: Int[Array, "B M"]) -> tuple[Kept, Kept]:
        """Keys and values of each row's pages side by side; a page that is none gives some page's numbers."""
        ...

    def copy_page(self, source: Int[Array, "..."], target: Int[Array, "..."]) -> Self:
        """What is in `source` in `target` too, page by page; a target that is no page is dropped."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HeadsFirst:
    """Keys and values apart, a head's slots of a page side by side: for XLA and for the GPU kernel."""

    keys: Kept  # K P S H
    values: Kept

    @classmethod
    def empty(
        cls, *, num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype
    ) -> Self:
        """Pages of zeros."""
        shape = (num_kv_heads, num_pages, page_size, head_dim)
        return cls(keys=empty(shape, dtype), values=empty(shape, dtype))

    @property
    def num_pages(self) -> int:
        """The second axis."""
        return self.keys.shape[1]

    @property
    def page_size(self) -> int:
        """The third axis."""
        return self.keys.shape[2]

    def write(
        self,
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        *,
        pages: Int[Array, "B T"],
        offsets: Int[Array, "B T"],
    ) -> Self:
        """One row of `head_dim` numbers per head and slot."""

        def put(pool: Array, rows: Array) -> Array:
            return pool.at[:, pages, offsets].set(rows, mode="drop")

        def written(pool: Kept, new: Array) -> Kept:
            return jax.tree.map(put, pool, kept_like(jnp.moveaxis(new, 2, 0), pool))  # K B T H

        return dataclasses.replace(self, keys=written(self.keys, k), values=written(self.values, v))

    def gathered(self, table: Int[Array, "B M"]) -> tuple[Kept, Kept]:
        """Copied together, the heads moved behind the slots."""
        return heads_last(gathered(self.keys, table)), heads_last(gathered(self.values, table))

    def copy_page(self, source: Int[Array, "..."], target: Int[Array, "..."]) -> Self:
        """A page of every head."""

        def copied(pool: Array) -> Array:
            return pool.at[:, target].set(pool.at[:, source].get(mode="clip"), mode="drop")

        return jax.tree.map(copied, self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Interleaved:
    """Keys and values in one array, a slot's heads side by side, keys before values of each: for the TPU kernel."""

    pages: Float[Array, "P S 2K H"]

    @classmethod
    def empty(
        cls, *, num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype
    ) -> Self:
        """Pages of zeros."""
        return cls(pages=jnp.zeros((num_pages, page_size, 2 * num_kv_heads, head_dim), dtype))

    @property
    def num_pages(self) -> int:
        """The first axis."""
        return self.pages.shape[0]

    @property
    def page_size(self) -> int:
        """The second axis."""
        return self.pages.shape[1]

    def write(
        self,
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
        *,
        pages: Int[Array, "B T"],
        offsets: Int[Array, "B T"],
    ) -> Self:
        """One row of all heads per slot."""
        batch, time, kv_heads, dim = k.shape
        rows = jnp.stack([k, v], axis=3).reshape(batch, time, 2 * kv_heads, dim)  # B T 2K H
        return dataclasses.replace(
            self,
            pages=self.pages.at[pages, offsets].set(rows.astype(self.pages.dtype), mode="drop"),
        )

    def gathered(self, table: Int[Array, "B M"]) -> tuple[Kept, Kept]:
        """Copied together, and every other head of that."""
        found = self.pages.at[table].get(mode="clip")  # B M S 2K H
        slots = found.reshape(found.shape[0], -1, *found.shape[3:])  # B M*S 2K H
        return slots[:, :, 0::2], slots[:, :, 1::2]

    def copy_page(self, source: Int[Array, "..."], target: Int[Array, "..."]) -> Self:
        """A page of every head."""
        return dataclasses.replace(
            self,
            pages=self.pages.at[target].set(self.pages.at[source].get(mode="clip"), mode="drop"),
        )
