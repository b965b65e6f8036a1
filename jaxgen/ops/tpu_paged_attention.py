"""Any number of queries per row over pages with JAX's TPU kernel: its limits, how to call it."""

import math
from collections.abc import Callable, Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

LANES, SUBLANES, WORD_BYTES = 128, 8, 4
"""A register is 8 x 128 words of 32 bits."""
BLOCK_BYTES = 1024 * 1024
"""Bytes of keys and values fetched at a time; two blocks fit the fast memory many times."""
BLOCK_QUERIES = 32
DTYPES = ("float32", "bfloat16")


def obstacles(
    *, head_dim: int, num_heads: int, num_kv_heads: int, dtype: jnp.dtype
) -> Iterator[str]:
    """Say why the kernel cannot serve such pages, one reason at a time; none if it can.

    It cuts heads into whole registers.
    """
    if dtype.name not in DTYPES:
        names = ", ".join(DTYPES)
        yield f"dtype.kv={dtype.name}: only {names}"
    elif not _fills_registers(2 * num_kv_heads, dtype):
        yield (
            f"num_kv_heads={num_kv_heads}: keys and values of so many do not fill whole registers "
            f"in {dtype.name}"
        )
    elif not _queries_fit(num_heads, num_kv_heads, dtype):
        yield (
            f"num_heads={num_heads} over num_kv_heads={num_kv_heads}: blocks of heads do not fill "
            "whole registers"
        )
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
    """Attend with each row's newest T queries over the slots up to their own.

    Args:
        kernel: `ragged_paged_attention` of jax.experimental.pallas.ops.tpu.
        q: queries.
        pages: one layer's pool, without `obstacles`; the keys of a head, then its values, then the
            next head's.
        table: the positions m * S to (m + 1) * S - 1 of row b lie in page `table[b, m]`.
        lengths: slots of each row that hold a token, those of the T queries included.

    Returns:
        The context in the dtype of `q`.
    """
    batch, time, heads, head_dim = q.shape
    queries = batch * time
    page_bytes = pages.dtype.itemsize * math.prod(pages.shape[1:])
    blocks = block_sizes(page_bytes, width=table.shape[1], queries=queries)
    # The kernel wants the queries of all rows end to end, in the dtype of the pages, and where each
    # row's begin. It reads every page of the table: one that is not in the pool stands for another.
    context = kernel(
        q.reshape(queries, heads, head_dim).astype(pages.dtype),  # B*T N H
        pages,
        lengths,
        jnp.minimum(table, len(pages) - 1),
        jnp.arange(batch + 1, dtype=jnp.int32) * time,
        jnp.array([batch], jnp.int32),
        sm_scale=head_dim**-0.5,
        **blocks,
    )
    return context.reshape(q.shape).astype(q.dtype)  # B T N H


def block_sizes(page_bytes: int, *, width: int, queries: int) -> dict[str, int]:
    """Return what the kernel works on at a time, as its keyword arguments.

    Its own defaults count pages whatever their size, and may not fit.

    Args:
        page_bytes: of one page.
        width: pages of a row.
        queries: of all rows.
    """
    pages = max(1, min(BLOCK_BYTES // page_bytes, width))
    return {
        "num_kv_pages_per_block": pages,
        "num_queries_per_block": min(BLOCK_QUERIES, queries),
    }


def _fills_registers(heads: int, dtype: jnp.dtype) -> bool:
    """Say whether rows of so many heads are whole registers, or a power of two below one."""
    # bfloat16 has two numbers in a word: 6 heads are 3 words, which fill no register evenly.
    words, rest = divmod(heads, WORD_BYTES // dtype.itemsize)
    if rest:
        return False
    return words in (1, 2, 4, 8) or words % SUBLANES == 0


def _queries_fit(num_heads: int, num_kv_heads: int, dtype: jnp.dtype) -> bool:
    """Say whether the query heads of a block are whole registers.

    Many kv heads are cut into blocks of one register, and the query heads with them.
    """
    numbers_in_register = SUBLANES * (WORD_BYTES // dtype.itemsize)
    kv_heads_in_register = numbers_in_register // 2  # keys and values of each
    if num_kv_heads % kv_heads_in_register:
        return True
    group_size = num_heads // num_kv_heads
    query_heads = kv_heads_in_register * group_size
    if query_heads == num_heads or query_heads % SUBLANES == 0:
        return True
    return not _fills_registers(query_heads, dtype)
