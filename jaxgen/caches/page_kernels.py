"""Ways to attend over pages, and which one a paged cache takes: decided once, at its creation."""

import dataclasses
import functools
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.page_pools import HeadsFirst, Interleaved, Pool
from jaxgen.errors import UserError
from jaxgen.machine.jax_compat import gpu_paged_attention_of_jax
from jaxgen.ops import gpu_paged_attention, tpu_paged_attention
from jaxgen.ops.paged_attention import blockwise_attention, gather_attention
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import Paged, PageKernel

BLOCK_TOKENS = 128
"""How many tokens the blockwise kernel attends to at a time: 128 KiB of keys and values at 2 heads
of 64 in float32."""


class Kernel(Protocol):
    """A frozen spec, static in a compiled program.

    Attributes:
        layout: the kind of pool that it reads.
        name: in a result.
        window: positions that a query sees; null is all.
    """

    layout: ClassVar[type[Pool]]
    name: ClassVar[str]

    @property
    def window(self) -> int | None:
        """Return the window."""
        ...

    def attend(
        self,
        pool: Any,
        q: Float[Array, "B T N H"],
        *,
        table: Int[Array, "B M"],
        positions: Int[Array, "B T"],
    ) -> Float[Array, "B T N H"]:
        """Attend over the pages of `table`, up to each query's own slot.

        Args:
            pool: one layer's pages, in the kernel's layout.
            q: T queries in a row, whose own keys are in the pool already.
            table: the pages of each row.
            positions: of the queries.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Reference:
    """All pages of a row copied together: slow and plain."""

    layout: ClassVar[type[Pool]] = HeadsFirst
    name: ClassVar[str] = "reference"
    window: int | None = None

    def attend(
        self,
        pool: HeadsFirst,
        q: Float[Array, "B T N H"],
        *,
        table: Int[Array, "B M"],
        positions: Int[Array, "B T"],
    ) -> Float[Array, "B T N H"]:
        """Attend as over a contiguous cache."""
        return gather_attention(
            q,
            pool.keys,
            pool.values,
            table=table,
            positions=positions,
            window=self.window,
        )


@dataclasses.dataclass(frozen=True)
class Blockwise:
    """A few pages at a time; a prompt is gathered."""

    layout: ClassVar[type[Pool]] = HeadsFirst
    name: ClassVar[str] = "blockwise"
    window: int | None = None

    def attend(
        self,
        pool: HeadsFirst,
        q: Float[Array, "B T N H"],
        *,
        table: Int[Array, "B M"],
        positions: Int[Array, "B T"],
    ) -> Float[Array, "B T N H"]:
        """Attend block by block, where blocks of `BLOCK_TOKENS` divide what is read."""
        block = max(BLOCK_TOKENS // pool.page_size, 1)
        pages = table.shape[1]
        # Blocks pay for a single query a row; a prompt has enough work to hide the copies.
        if q.shape[1] > 1 or block == pages or pages % block:
            return Reference(self.window).attend(pool, q, table=table, positions=positions)
        return blockwise_attention(
            q,
            pool.keys,
            pool.values,
            table=table,
            positions=positions,
            pages=block,
            window=self.window,
        )


@dataclasses.dataclass(frozen=True)
class GpuKernel:
    """JAX's kernel for GPUs, which reads the pages in use and no more; a prompt is gathered.

    Attributes:
        interpret: run it step by step on any device, for tests.
    """

    layout: ClassVar[type[Pool]] = HeadsFirst
    name: ClassVar[str] = "pallas"
    window: None = None
    interpret: bool = False

    def attend(
        self,
        pool: HeadsFirst,
        q: Float[Array, "B T N H"],
        *,
        table: Int[Array, "B M"],
        positions: Int[Array, "B T"],
    ) -> Float[Array, "B T N H"]:
        """Attend with one query of each row."""
        # Pallas is slow to import, and most runs need none of it.
        paged_attention = gpu_paged_attention_of_jax()
        if q.shape[1] > 1:
            return Reference().attend(pool, q, table=table, positions=positions)
        keys, values = pool.keys, pool.values
        assert isinstance(keys, Array), "int8 is refused when the kernel is chosen"
        assert isinstance(values, Array), "as keys"
        # The query's own key is in the pool: a row at position 5 has 6 slots with a token.
        context = gpu_paged_attention.gpu_paged_attention(
            functools.partial(paged_attention, interpret=self.interpret),
            q[:, 0],
            keys,
            values,
            table=table,
            lengths=positions[:, 0] + 1,
        )
        return context[:, None]  # B 1 N H


@dataclasses.dataclass(frozen=True)
class TpuKernel:
    """JAX's ragged kernel for TPUs, which serves prompts too."""

    layout: ClassVar[type[Pool]] = Interleaved
    name: ClassVar[str] = "pallas"
    window: int | None = None

    def attend(
        self,
        pool: Interleaved,
        q: Float[Array, "B T N H"],
        *,
        table: Int[Array, "B M"],
        positions: Int[Array, "B T"],
    ) -> Float[Array, "B T N H"]:
        """Attend with any number of queries of each row."""
        # Slow to import, as the GPU's.
        from jax.experimental.pallas.ops.tpu import ragged_paged_attention as shipped

        kernel = functools.partial(shipped.ragged_paged_attention, sliding_window=self.window)
        return tpu_paged_attention.ragged_paged_attention(
            kernel,
            q,
            pool.pages,
            table=table,
            lengths=positions[:, -1] + 1,
        )


_WITH_SHIPPED_KERNEL = ("gpu", "tpu")
"""Platforms for which JAX ships a kernel."""


def choose(spec: Paged, architecture: Architecture, *, dtype: jnp.dtype, platform: str) -> Kernel:
    """Return the kernel that `cache.kernel` stands for.

    `auto` is the kernel that JAX ships for the platform where it can serve the shapes, else what
    XLA makes: block by block on a CPU, where blocks stay near the processor, and all pages together
    elsewhere, where a loop of small steps should cost more than the copies (not measured).

    Args:
        spec: of the cache.
        architecture: of the model.
        dtype: of keys and values.
        platform: `jax.default_backend()`.

    Raises:
        UserError: `pallas` where no such kernel runs, or where it cannot serve these shapes.
    """
    if spec.kernel is PageKernel.reference:
        return Reference(spec.window)
    if spec.kernel is PageKernel.blockwise:
        return Blockwise(spec.window)
    # What JAX ships is faster wherever it can serve the shapes.
    reason = _obstacles(spec, architecture, dtype=dtype, platform=platform)
    if not reason:
        if platform == "gpu":
            return GpuKernel()
        return TpuKernel(spec.window)
    if spec.kernel is PageKernel.pallas:
        raise UserError(f"cache.kernel=pallas {reason}: cache.kernel=auto takes what works here")
    if platform in _WITH_SHIPPED_KERNEL:
        return Reference(spec.window)
    return Blockwise(spec.window)


def _obstacles(spec: Paged, architecture: Architecture, *, dtype: jnp.dtype, platform: str) -> str:
    """Say why no shipped kernel can be taken, all reasons at once; nothing if one can."""
    if platform not in _WITH_SHIPPED_KERNEL:
        return f"runs on GPU or TPU; this machine has {platform}"
    if platform == "gpu":
        obstacles = gpu_paged_attention.obstacles(
            head_dim=architecture.head_dim,
            page_size=spec.page_size,
            dtype=dtype,
            window=spec.window,
        )
    else:
        obstacles = tpu_paged_attention.obstacles(
            head_dim=architecture.head_dim,
            num_heads=architecture.num_heads,
            num_kv_heads=architecture.num_kv_heads,
            dtype=dtype,
        )
    reasons = "; ".join(obstacles)
    if not reasons:
        return ""
    return f"cannot serve this on {platform.upper()} ({reasons})"
