"""Queries of any number per row over pages with the TPU kernel that JAX ships: what it allows, and how it is called."""

import math
from collections.abc import Callable, Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

LANES, SUBLANES, WORD_BYTES = 128, 8, 4
"""A register is 8 x 128 words of 32 bits."""
BLOCK_BYTES = 1024 * 1024
"""Of the keys and values that are fetched at a time; two blocks fit the fast memory many times."""
BLOCK_QUERIES = 32
DTYPES = ("float32", "bfloat16")


def obstacles(
    *, head_dim: int, num_heads: int, num_kv_heads: int, dtype: jnp.dtype
) -> Iterator[str]:
    """Why the kernel cannot serve such pages: it cuts heads into whole registers; none if it can."""
    if dtype.name not in DTYPES:
        yield f"dtype.kv={dtype.name}: only {', '.join(DTYPES)}"
    elif not _tiled(2 * num_kv_heads, dtype):
        yield f"num_kv_heads={num_kv_heads}: keys and values of so many do not fill whole registers in {dtype.name}"
    elif not _queries_fit(num_heads, num_kv_heads, dtype):
        yield f"num_heads={num_heads} over num_kv_heads={num_kv_heads}: blocks of heads do not fill whole registers"
    if head_dim % LANES:
        yield f"head_dim={head_dim}: only a multiple of {LANES}"


def ragged_paged_attention(
    kernel: Callable[..., Array],
    q: Float[Array, "B T N H"],
    pages: Float[Array, "P S 2K H"],
    *,
    table: Int[Array, "B M"],
    lengths: Int[Array, "B"],
) -> Float[Array, "B T N H"]:
    """Attention of each row's newest T queries over the slots up to their own.

    The kernel wants the queries of all rows end to end, in the dtype of the pages, and where each row's begin.

    Args:
        kernel: `ragged_paged_attention` of jax.experimental.pallas.ops.tpu.
        pages: one layer's pool, without `obstacles`; the keys of a head, then its values, then the next head's.
        table: the positions m * S to (m + 1) * S - 1 of row b lie in page `table[b, m]`.
        lengths: slots of each row that hold a token, those of the T queries included.
    """
    batch, time, heads, dim = q.shape
    page_bytes = pages.dtype.itemsize * math.prod(pages.shape[1:])
    context = kernel(
        q.reshape(batch * time, heads, dim).astype(pages.dtype),
        pages,
        lengths,
        jnp.minimum(table, len(pages) - 1),
        jnp.arange(batch + 1, dtype=jnp.int32) * time,
        jnp.array([batch], jnp.int32),
        sm_scale=dim**-0.5,
        **block_sizes(page_bytes, width=table.shape[1], queries=batch * time),
    )
    return context.reshape(q.shape).astype(q.dtype)  # B T N H


def block_sizes(page_bytes: int, *, width: int, queries: int) -> dict[str, int]:
    """What the kernel works on at a time. Its own defaults count pages whatever their size, and may not fit."""
    pages = max(1, min(BLOCK_BYTES // page_bytes, width))
    return {"num_kv_pages_per_block": pages, "num_queries_per_block": min(BLOCK_QUERIES, queries)}


def _tiled(heads: int, dtype: jnp.dtype) -> bool:
    """Whether rows of so many heads are whole registers, or a power of two below one."""
    words, rest = divmod(heads, WORD_BYTES // dtype.itemsize)
    return not rest and (words in (1, 2, 4, 8) or words % SUBLANES == 0)


def _queries_fit(num_heads: int, num_kv_heads: int, dtype: jnp.dtype) -> bool:
    """Many kv heads are cut into blocks of one register; the query heads of a block must be whole registers too."""
    in_register = (
        SUBLANES * (WORD_BYTES // dtype.itemsize) // 2
    )  # kv heads, keys and values of each
    if num_kv_heads % in_register:
        return True
    queries = in_register * (num_heads // num_kv_heads)
    return queries == num_heads or queries % SUBLANES == 0 or not _tiled(queries, dtype)
