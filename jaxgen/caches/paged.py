"""The paged cache: keys and values in pages of a pool, each row's pages listed in a table."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches.pages import PageAllocator, pages_for
from jaxgen.caches.protocol import Place
from jaxgen.ops.paged_attention import blockwise_attention, gather_attention, gathered
from jaxgen.spec.architecture import Architecture
from jaxgen.spec.cache import Paged, PageKernel

BLOCK_TOKENS = 128
"""Attended to at a time by the blockwise kernel: 128 KiB of keys and values at 2 heads of 64 in float32."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PagedCache:
    """A pool of pages per layer, donated from step to step; tables and lengths are arrays too, so that no program
    depends on which pages a row has.

    A table entry that stands for no page is the pool's size: a write there is dropped, a read gives some page's
    numbers, which no query sees.

    Attributes:
        keys, values: one pool per layer.
        table: pages of each row, in the order of the positions that they hold.
        lengths: tokens kept per row.
        visible: how many slots `attend` reads (static).
        kernel: how it reads them (static).
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = True
    keys: tuple[Float[Array, "P S K H"], ...]
    values: tuple[Float[Array, "P S K H"], ...]
    table: Int[Array, "B M"]
    lengths: Int[Array, "B"]
    visible: int = dataclasses.field(metadata={"static": True})
    kernel: PageKernel = dataclasses.field(metadata={"static": True})

    @classmethod
    def create(
        cls,
        spec: Paged,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        dtype,
        needed: Sequence[int] = (),
    ) -> Self:
        """A pool of `spec.num_pages`, or of as many as `batch` rows of `capacity` tokens can need.

        Args:
            needed: tokens that each row may come to hold; rows behind these, and all of them if it is empty, get
                `capacity`.

        Raises:
            UserError: the pool has too few pages.
        """
        per_row = pages_for(capacity, spec.page_size)
        num_pages = spec.pool(batch, capacity)
        allocator = PageAllocator(num_pages)
        wanted = [pages_for(tokens, spec.page_size) for tokens in needed]
        wanted += [per_row] * (batch - len(wanted))
        pages = allocator.allocate(sum(wanted))  # all or none
        table = np.full((batch, per_row), num_pages, np.int32)
        table[np.arange(per_row)[None, :] < np.array(wanted)[:, None]] = pages
        shape = (num_pages, spec.page_size, architecture.num_kv_heads, architecture.head_dim)
        layers = range(architecture.num_layers)
        return cls(
            keys=tuple(jnp.zeros(shape, dtype) for _ in layers),
            values=tuple(jnp.zeros(shape, dtype) for _ in layers),
            table=jnp.asarray(table),
            lengths=jnp.zeros((batch,), jnp.int32),
            visible=capacity,
            kernel=spec.kernel,
        )

    @property
    def static_shape(self) -> bool:
        """Every step has the shapes of the one before."""
        return True

    def positions(self, time: int) -> Int[Array, "B T"]:
        """The positions after the tokens kept so far."""
        return self.lengths[:, None] + jnp.arange(time, dtype=jnp.int32)[None, :]

    def attend(
        self, layer: int, q: Float[Array, "B T N H"], k: Float[Array, "B T K H"], v: Float[Array, "B T K H"]
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Write at each row's length, attend over the pages of the visible slots."""
        positions = self.positions(q.shape[1])
        keys = self._write(self.keys[layer], k, positions)
        values = self._write(self.values[layer], v, positions)
        read = self._read_table()
        block = self._block_pages(read.shape[1])
        if self.kernel is PageKernel.gather or q.shape[1] > 1 or block == read.shape[1]:
            context = gather_attention(q, keys, values, table=read, positions=positions)
        else:
            context = blockwise_attention(q, keys, values, table=read, positions=positions, pages=block)
        written = dataclasses.replace(
            self,
            keys=(*self.keys[:layer], keys, *self.keys[layer + 1 :]),
            values=(*self.values[:layer], values, *self.values[layer + 1 :]),
        )
        return context, written

    def kept(self, layer: int) -> tuple[Float[Array, "B S K H"], Float[Array, "B S K H"], Int[Array, "B S"]]:
        """The slots of the visible pages; those from `lengths` on hold padding or nothing."""
        read = self._read_table()
        keys, values = gathered(self.keys[layer], read), gathered(self.values[layer], read)
        slots = jnp.arange(keys.shape[1], dtype=jnp.int32)[None, :]
        return keys, values, jnp.where(slots < self.lengths[:, None], slots, -1)

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` more tokens per row."""
        return dataclasses.replace(self, lengths=self.lengths + counts)

    def opened(self, place: Place) -> Self:
        """All pools, seen through the new text's table; the page in which it parts from another is copied."""

        def copied(pools):
            return tuple(
                pool.at[place.target].set(pool.at[place.source].get(mode="clip"), mode="drop") for pool in pools
            )

        return dataclasses.replace(
            self,
            keys=copied(self.keys),
            values=copied(self.values),
            table=place.table[None, :],
            lengths=place.kept[None],
        )

    def closed(self, place: Place, row: Self) -> Self:
        """The pools as the row left them, and its table among the others."""
        return dataclasses.replace(
            self,
            keys=row.keys,
            values=row.values,
            table=self.table.at[place.slot].set(row.table[0]),
            lengths=self.lengths.at[place.slot].set(row.lengths[0]),
        )

    def only(self, rows: Bool[Array, "B"]) -> Self:
        """The other rows have no pages any more."""
        return dataclasses.replace(self, table=jnp.where(rows[:, None], self.table, self.keys[0].shape[0]))

    def reading(self, depth: int) -> Self:
        """See the pages of the first `depth` slots, at most all of them."""
        return dataclasses.replace(self, visible=min(depth, self.table.shape[1] * self._page_size))

    @property
    def _page_size(self) -> int:
        return self.keys[0].shape[1]

    def _read_table(self) -> Int[Array, "B m"]:
        return self.table[:, : pages_for(self.visible, self._page_size)]

    def _block_pages(self, pages: int) -> int:
        """Pages of a block: as many as `BLOCK_TOKENS` hold, if they divide what is read; else all at once."""
        block = max(BLOCK_TOKENS // self._page_size, 1)
        return block if pages % block == 0 else pages

    def _write(
        self, pool: Float[Array, "P S K H"], new: Float[Array, "B T K H"], positions: Int[Array, "B T"]
    ) -> Float[Array, "P S K H"]:
        """`new` at its positions; what has no page is dropped, such as the padding of a short row's prompt."""
        pages = jnp.take_along_axis(self.table, positions // self._page_size, axis=1, mode="fill", fill_value=len(pool))
        return pool.at[pages, positions % self._page_size].set(new.astype(pool.dtype), mode="drop")
