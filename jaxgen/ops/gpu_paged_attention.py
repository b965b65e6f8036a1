"""One query per row over pages with JAX's GPU kernel: its limits, and how to call it."""

from collections.abc import Callable, Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BLOCK_TOKENS = 128
"""One program of the kernel attends to so many tokens at a time, where `BLOCK_BYTES` allows it."""
BLOCK_BYTES = 32 * 1024
"""Bytes of a block's keys, and again of its values: what the kernel's defaults take at 128 bfloat16
numbers a token."""
MIN_TILE = 16
"""A matrix product on this device has no shorter axis."""
MAX_SPLITS = 16
"""The most parts of a row that are attended to side by side."""
DTYPES = ("float32", "bfloat16", "float16")


def obstacles(
    *, head_dim: int, page_size: int, dtype: jnp.dtype, window: int | None = None
) -> Iterator[str]:
    """Say why the kernel cannot serve such pages, one reason at a time; none if it can.

    All its arrays have sides of a power of two.
    """
    if window is not None:
        yield f"a window of {window}: the kernel sees all positions"
    if dtype.name not in DTYPES:
        names = ", ".join(DTYPES)
        yield f"dtype.kv={dtype.name}: only {names}"
    largest_head = BLOCK_BYTES // (MIN_TILE * dtype.itemsize)
    if head_dim < MIN_TILE or not _is_power_of_two(head_dim):
        yield f"head_dim={head_dim}: only a power of two, {MIN_TILE} or more"
    elif head_dim > largest_head:
        yield f"head_dim={head_dim}: at most {largest_head} in {dtype.name}"
    elif not _is_power_of_two(page_size):
        yield f"cache.page_size={page_size}: only a power of two"
    elif page_size > _block_tokens(head_dim, dtype):
        largest_page = _block_tokens(head_dim, dtype)
        yield f"cache.page_size={page_size}: at most {largest_page} at head_dim={head_dim}"


def gpu_paged_attention(
    kernel: Callable[..., Array],
    q: Float[Array, "B N H"],
    keys: Float[Array, "K P S H"],
    values: Float[Array, "K P S H"],
    *,
    table: Int[Array, "B M"],
    lengths: Int[Array, "B"],
) -> Float[Array, "B N H"]:
    """Attend with each row's newest query over its first `lengths` slots.

    Args:
        kernel: `paged_attention` of jax.experimental.pallas.ops.gpu.
        q: queries.
        keys: one layer's pool, without `obstacles`.
        values: likewise.
        table: the positions m * S to (m + 1) * S - 1 of row b lie in page `table[b, m]`.
        lengths: slots of each row that hold a token.

    Returns:
        The context in the dtype of `q`.
    """
    _, num_pages, page_size, head_dim = keys.shape
    width = table.shape[1]
    # A row is cut into as many parts as are attended to side by side, each of whole blocks. Page
    # size 16, 21 pages: blocks of 8, so 3 parts of one block.
    block = _block_tokens(head_dim, keys.dtype) // page_size
    blocks = -(-width // block)
    blocks_in_part = -(-blocks // MAX_SPLITS)
    parts = -(-blocks // blocks_in_part)
    # The kernel would read a page that is not in the pool; `lengths` hides what stands in for it,
    # and the padding of the last part: 3 entries in the example.
    in_pool = jnp.minimum(table, num_pages - 1)
    padding = parts * blocks_in_part * block - width
    padded = jnp.pad(in_pool, ((0, 0), (0, padding)))
    # It wants queries in the dtype of the pages, already scaled.
    wide = q.astype(jnp.float32)
    scaled = wide * head_dim**-0.5
    context = kernel(
        scaled.astype(keys.dtype),
        keys,
        values,
        padded,
        lengths,
        pages_per_compute_block=block,
        k_splits=parts,
    )
    return context.astype(q.dtype)


def _block_tokens(head_dim: int, dtype: jnp.dtype) -> int:
    """Return the tokens of a block: a power of two, as the head size is one."""
    token_bytes = head_dim * dtype.itemsize
    return min(BLOCK_TOKENS, BLOCK_BYTES // token_bytes)


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
