"""Ways to attend over pages, and which one a paged cache takes: decided once, when the cache is made."""

import dataclasses
import functools
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.pools import HeadsFirst, Interleaved, Pool
from jaxgen.errors import UserError
from jaxgen.ops import gpu_paged_attention, tpu_paged_attention
from jaxgen.ops.paged_attention import blockwise_attention, gather_attention
from jaxgen.spec.architecture import Architecture
from jaxgen.spec.cache import PageKernel

BLOCK_TOKENS = 128
"""Attended to at a time by the blockwise kernel: 128 KiB of keys and values at 2 heads of 64 in float32."""


class Kernel(Protocol):
    """A frozen spec, static in a compiled program.

    Attributes:
        layout: the kind of pool that it reads.
    """

    layout: ClassVar[type[Pool]]

    def attend(
        self, pool: Any, q: Float[Array, "B T N H"], *, table: Int[Array, "B M"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T N H"]:
        """What queries at `positions`, T in a row, see in the pages of `table` up to their own slots."""
        ...


@dataclasses.dataclass(frozen=True)
class Reference:
    """All pages of a row copied together: slow and plain."""

    layout: ClassVar[type[Pool]] = HeadsFirst

    def attend(
        self, pool: HeadsFirst, q: Float[Array, "B T N H"], *, table: Int[Array, "B M"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T N H"]:
        """As over a contiguous cache."""
        return gather_attention(q, pool.keys, pool.values, table=table, positions=positions)


@dataclasses.dataclass(frozen=True)
class Blockwise:
    """A few pages at a time; a prompt is gathered."""

    layout: ClassVar[type[Pool]] = HeadsFirst

    def attend(
        self, pool: HeadsFirst, q: Float[Array, "B T N H"], *, table: Int[Array, "B M"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T N H"]:
        """Blocks of `BLOCK_TOKENS`, if they divide what is read; else all at once."""
        block, pages = max(BLOCK_TOKENS // pool.page_size, 1), table.shape[1]
        if q.shape[1] > 1 or block == pages or pages % block:
            return Reference().attend(pool, q, table=table, positions=positions)
        return blockwise_attention(q, pool.keys, pool.values, table=table, positions=positions, pages=block)


@dataclasses.dataclass(frozen=True)
class GpuKernel:
    """JAX's kernel for GPUs, which reads the pages in use and no more; a prompt is gathered.

    Attributes:
        interpret: run it step by step on any device, for tests.
    """

    layout: ClassVar[type[Pool]] = HeadsFirst
    interpret: bool = False

    def attend(
        self, pool: HeadsFirst, q: Float[Array, "B T N H"], *, table: Int[Array, "B M"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T N H"]:
        """One query of each row."""
        from jax.experimental.pallas.ops.gpu.paged_attention import paged_attention  # slow to import

        if q.shape[1] > 1:
            return Reference().attend(pool, q, table=table, positions=positions)
        context = gpu_paged_attention.gpu_paged_attention(
            functools.partial(paged_attention, interpret=self.interpret),
            q[:, 0],
            pool.keys,
            pool.values,
            table=table,
            lengths=positions[:, 0] + 1,
        )
        return context[:, None]  # B 1 N H


@dataclasses.dataclass(frozen=True)
class TpuKernel:
    """JAX's ragged kernel for TPUs, which serves prompts too."""

    layout: ClassVar[type[Pool]] = Interleaved

    def attend(
        self, pool: Interleaved, q: Float[Array, "B T N H"], *, table: Int[Array, "B M"], positions: Int[Array, "B T"]
    ) -> Float[Array, "B T N H"]:
        """Any number of queries of each row."""
        from jax.experimental.pallas.ops.tpu import ragged_paged_attention as shipped  # slow to import

        return tpu_paged_attention.ragged_paged_attention(
            shipped.ragged_paged_attention, q, pool.pages, table=table, lengths=positions[:, -1] + 1
        )


_SHIPPED: dict[str, Kernel] = {"gpu": GpuKernel(), "tpu": TpuKernel()}


def choose(asked: PageKernel, architecture: Architecture, *, page_size: int, dtype: jnp.dtype, platform: str) -> Kernel:
    """The way to attend that `cache.kernel` stands for on a platform (`jax.default_backend()`).

    `auto` is the kernel that JAX ships for the platform where it can serve the shapes, else what XLA makes: block by
    block on a CPU, where blocks stay near the processor, and all pages together elsewhere, where a loop of small steps
    should cost more than the copies (not measured).

    Raises:
        UserError: `pallas` where no such kernel runs, or where it cannot serve these shapes.
    """
    if asked is PageKernel.reference:
        return Reference()
    if asked is PageKernel.blockwise:
        return Blockwise()
    found = _obstacles(architecture, page_size=page_size, dtype=dtype, platform=platform)
    if not found:
        return _SHIPPED[platform]
    if asked is PageKernel.pallas:
        raise UserError(f"cache.kernel=pallas {found}: cache.kernel=auto takes what works here")
    return Reference() if platform in _SHIPPED else Blockwise()


def _obstacles(architecture: Architecture, *, page_size: int, dtype: jnp.dtype, platform: str) -> str:
    """Why no shipped kernel can be taken, all reasons at once; nothing if one can."""
    if platform not in _SHIPPED:
        return f"runs on GPU or TPU; this machine has {platform}"
    if platform == "gpu":
        found = gpu_paged_attention.obstacles(head_dim=architecture.head_dim, page_size=page_size, dtype=dtype)
    else:
        found = tpu_paged_attention.obstacles(
            head_dim=architecture.head_dim,
            num_heads=architecture.num_heads,
            num_kv_heads=architecture.num_kv_heads,
            dtype=dtype,
        )
    reasons = "; ".join(found)
    return reasons and f"cannot serve this on {platform.upper()} ({reasons})"
