"""The paged cache: keys and values in pages of a pool, each row's pages listed in a table."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches import page_kernels
from jaxgen.caches.layers import replaced
from jaxgen.caches.page_allocator import PageAllocator, pages_for
from jaxgen.caches.page_pools import Pool
from jaxgen.caches.protocol import Place
from jaxgen.ops.quantisation import Kept
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Paged


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PagedCache:
    """A pool of pages per layer, donated from step to step; tables and lengths are arrays too, so that no program
    depends on which pages a row has.

    A table entry that stands for no page is the pool's size: a write there is dropped, a read gives some page's
    numbers, which no query sees.

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
            UserError: the pool has too few pages, or the kernel that was asked for cannot run here.
        """
        kernel = page_kernels.choose(
            spec, architecture, dtype=jnp.dtype(dtype), platform=jax.default_backend()
        )
        per_row = pages_for(capacity, spec.page_size)
        num_pages = spec.pool(batch, capacity)
        allocator = PageAllocator(num_pages)
        wanted = [pages_for(tokens, spec.page_size) for tokens in needed]
        wanted += [per_row] * (batch - len(wanted))
        pages = allocator.allocate(sum(wanted))  # all or none
        table = np.full((batch, per_row), num_pages, np.int32)
        table[np.arange(per_row)[None, :] < np.array(wanted)[:, None]] = pages
        pool = functools.partial(
            kernel.layout.empty,
            num_pages=num_pages,
            page_size=spec.page_size,
            num_kv_heads=architecture.num_kv_heads,
            head_dim=architecture.head_dim,
            dtype=dtype,
        )
        return cls(
            pools=tuple(pool() for _ in range(architecture.num_layers)),
            table=jnp.asarray(table),
            lengths=jnp.zeros((batch,), jnp.int32),
            visible=capacity,
            kernel=kernel,
        )

    @property
    def static_shape(self) -> bool:
        """Every step has the shapes of the one before."""
        return True

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
        """Write at each row's length, attend over the pages of the visible slots.

        What has no page is dropped, such as the padding of a short row's prompt.
        """
        positions, pool = self.positions(q.shape[1]), self.pools[layer]
        slots = positions // pool.page_size
        pages = jnp.take_along_axis(
            self.table, slots, axis=1, mode="fill", fill_value=pool.num_pages
        )
        pool = pool.write(k, v, pages=pages, offsets=positions % pool.page_size)
        context = self.kernel.attend(pool, q, table=self._read_table(), positions=positions)
        return context, dataclasses.replace(self, pools=replaced(self.pools, layer, pool))

    def kept(self, layer: int) -> tuple[Kept, Kept, Int[Array, "B S"]]:
        """The slots of the visible pages; those from `lengths` on hold padding or nothing."""
        keys, values = self.pools[layer].gathered(self._read_table())
        slots = jnp.arange(keys.shape[1], dtype=jnp.int32)[None, :]
        return keys, values, jnp.where(slots < self.lengths[:, None], slots, -1)

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` more tokens per row."""
        return dataclasses.replace(self, lengths=self.lengths + counts)

    def opened(self, place: Place) -> Self:
        """All pools, seen through the new text's table; the page in which it parts from another is copied."""
        return dataclasses.replace(
            self,
            pools=tuple(pool.copy_page(place.source, place.target) for pool in self.pools),
            table=place.table[None, :],
            lengths=place.kept[None],
        )

    def closed(self, place: Place, row: Self) -> Self:
        """The pools as the row left them, and its table among the others."""
        return dataclasses.replace(
            self,
            pools=row.pools,
            table=self.table.at[place.slot].set(row.table[0]),
            lengths=self.lengths.at[place.slot].set(row.lengths[0]),
        )

    def only(self, rows: Bool[Array, "B"]) -> Self:
        """The other rows have no pages any more."""
        return dataclasses.replace(
            self, table=jnp.where(rows[:, None], self.table, self.pools[0].num_pages)
        )

    def reading(self, depth: int) -> Self:
        """See the pages of the first `depth` slots, at most all of them."""
        return dataclasses.replace(self, visible=min(depth, self.table.shape[1] * self._page_size))

    @property
    def _page_size(self) -> int:
        return self.pools[0].page_size

    def _read_table(self) -> Int[Array, "B m"]:
        return self.table[:, : pages_for(self.visible, self._page_size)]
