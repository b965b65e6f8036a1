"""The paged cache: keys and values in pages of a pool, each row's pages listed in a table."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches import page_kernels
from jaxgen.caches.layers import positions_after, replace_layer
from jaxgen.caches.page_allocator import PageAllocator, pages_for
from jaxgen.caches.page_pools import Pool
from jaxgen.caches.protocol import SlotAssignment
from jaxgen.caches.size import CacheSize
from jaxgen.ops.quantisation import KVArray
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Paged


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PagedCache:
    """A pool of pages per layer, donated from step to step.

    Tables and lengths are arrays too, so that no program depends on which pages a row has. A table
    entry that stands for no page is the pool's size: a write there is dropped, a read gives some
    page's numbers, which no query sees.

    Attributes:
        pools: one per layer, laid out as the kernel reads it.
        table: pages of each row, in the order of the positions that they hold.
        lengths: tokens kept per row.
        visible: how many slots `attend` reads (static).
        kernel: how it reads them (static), decided by `create`.
    """

    incremental: ClassVar[bool] = True
    donated: ClassVar[bool] = True
    pools: tuple[Pool, ...]
    table: Int[Array, "B M"]
    lengths: Int[Array, "B"]
    visible: int = dataclasses.field(metadata={"static": True})
    kernel: page_kernels.Kernel = dataclasses.field(metadata={"static": True})

    @property
    def static_shape(self) -> bool:
        """Say that every step has the shapes of the one before."""
        return True

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
        """Write at each row's length, attend over the pages of the visible slots.

        What has no page is dropped, such as the padding of a short row's prompt.
        """
        positions = self.positions(q.shape[1])
        pool = self.pools[layer]
        # Position p lies in slot p modulo S of the row's page number p // S.
        # With pages of 16 position 37 is slot 5 of the row's third page.
        table_columns = positions // pool.page_size
        pages = jnp.take_along_axis(
            self.table,
            table_columns,
            axis=1,
            mode="fill",
            fill_value=pool.num_pages,
        )
        offsets = positions % pool.page_size
        pool = pool.write(k, v, pages=pages, offsets=offsets)
        # Written by the whole table, read by its first columns: only the depth is attended to.
        context = self.kernel.attend(
            pool,
            q,
            table=self._visible_table(),
            positions=positions,
        )
        pools = replace_layer(self.pools, layer, pool)
        return context, dataclasses.replace(self, pools=pools)

    def layer_kv(self, layer: int) -> tuple[KVArray, KVArray, Int[Array, "B S"]]:
        """Return the slots of the visible pages; from `lengths` on they hold padding or nothing."""
        keys, values = self.pools[layer].gather(self._visible_table())
        slots = jnp.arange(keys.shape[1], dtype=jnp.int32)
        slots = jnp.expand_dims(slots, 0)  # 1 S
        lengths = jnp.expand_dims(self.lengths, 1)  # B 1
        positions = jnp.where(slots < lengths, slots, -1)
        return keys, values, positions

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` more tokens per row."""
        return dataclasses.replace(self, lengths=self.lengths + counts)

    def open_row(self, assignment: SlotAssignment) -> Self:
        """Return all pools, seen through the new text's table.

        The page in which the text parts from another one is copied.
        """
        # Pools are shared by all rows: only the table says which pages are this text's.
        source, target = assignment.source, assignment.target
        return dataclasses.replace(
            self,
            pools=tuple(pool.copy_page(source, target) for pool in self.pools),
            table=assignment.table[None, :],
            lengths=assignment.cached_tokens[None],
        )

    def close_row(self, assignment: SlotAssignment, row: Self) -> Self:
        """Return the pools as the row left them, and its table among the others."""
        # The other rows' pages are in the same pools, and were not touched.
        table = self.table.at[assignment.slot].set(row.table[0])
        lengths = self.lengths.at[assignment.slot].set(row.lengths[0])
        return dataclasses.replace(
            self,
            pools=row.pools,
            table=table,
            lengths=lengths,
        )

    def mask_rows(self, active: Bool[Array, "B"]) -> Self:
        """Take the pages from the rows that are not active."""
        # A row that has ended is computed along; its pages may be another text's by now.
        no_page = self.pools[0].num_pages
        is_active = jnp.expand_dims(active, 1)  # B 1
        table = jnp.where(is_active, self.table, no_page)
        return dataclasses.replace(self, table=table)

    def with_depth(self, depth: int) -> Self:
        """See the pages of the first `depth` slots, at most all of them."""
        slots = self.table.shape[1] * self._page_size
        return dataclasses.replace(self, visible=min(depth, slots))

    @property
    def _page_size(self) -> int:
        return self.pools[0].page_size

    def _visible_table(self) -> Int[Array, "B m"]:
        pages = pages_for(self.visible, self._page_size)
        return self.table[:, :pages]


def create(spec: Paged, architecture: Architecture, size: CacheSize) -> PagedCache:
    """Return an empty cache with a pool of `spec.num_pages`, or of as many as full rows need.

    Args:
        spec: the cache as the run has it.
        architecture: of the model.
        size: rows behind those of `size.needed`, and all of them if it is empty, get pages for
            `size.capacity` tokens.

    Raises:
        UserError: the pool has too few pages, or the kernel that was asked for cannot run here.
    """
    kernel = page_kernels.choose(
        spec, architecture, dtype=jnp.dtype(size.dtype), platform=jax.default_backend()
    )
    num_pages = spec.pool(size.batch, size.capacity)
    # The table first: where there are too few pages, no pool is made.
    table = _table(spec, size, num_pages=num_pages)
    pools = []
    for _ in range(architecture.num_layers):
        pool = kernel.layout.empty(
            num_pages=num_pages,
            page_size=spec.page_size,
            num_kv_heads=architecture.num_kv_heads,
            head_dim=architecture.head_dim,
            dtype=size.dtype,
        )
        pools.append(pool)
    return PagedCache(
        pools=tuple(pools),
        table=jnp.asarray(table),
        lengths=jnp.zeros((size.batch,), jnp.int32),
        visible=size.capacity,
        kernel=kernel,
    )


def _table(spec: Paged, size: CacheSize, *, num_pages: int) -> Int[np.ndarray, "B M"]:
    """Give every row the pages that it may come to need, all rows or none of them.

    With pages of 2, 8 pages in the pool, rows of 3 and 8 tokens and a capacity of 8:
    [[1, 2, 8, 8], [3, 4, 5, 6]], where 8 stands for no page.
    """
    full_row = spec.pages_per_row(size.capacity)
    pages_of_row = [spec.pages_per_row(tokens) for tokens in size.needed]
    pages_of_row += [full_row] * (size.batch - len(pages_of_row))
    pages = PageAllocator(num_pages).allocate(sum(pages_of_row))
    table = np.full((size.batch, full_row), num_pages, np.int32)
    columns = np.arange(full_row)
    is_page = columns[None, :] < np.array(pages_of_row)[:, None]
    # A mask is filled row by row, so that each row has its pages in the order of its positions.
    table[is_page] = pages
    return table
