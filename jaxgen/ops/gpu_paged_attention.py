"""One query per row over pages with the GPU kernel that JAX ships: what it allows, and how it is called."""

from collections.abc import Callable, Iterator

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BLOCK_TOKENS = 128
"""Attended to at a time by one program of the kernel, where `BLOCK_BYTES` allows it."""
BLOCK_BYTES = 32 * 1024
"""Of the keys of a block, and again of its values: what the kernel's defaults take at 128 bfloat16 numbers a token."""
MIN_TILE = 16
"""A matrix product on this device has no shorter axis."""
MAX_SPLITS = 16
"""Parts of a row that are attended to side by side."""
DTYPES = ("float32", "bfloat16", "float16")


def obstacles(
    *, head_dim: int, page_size: int, dtype: jnp.dtype, window: int | None = None
) -> Iterator[str]:
    """Why the kernel cannot serve such pages: all its arrays have sides of a power of two; none if it can."""
    if window is not None:
        yield f"a window of {window}: the kernel sees all positions"
    if dtype.name not in DTYPES:
        yield f"dtype.kv={dtype.name}: only {', '.join(DTYPES)}"
    if head_dim < MIN_TILE or not _power_of_two(head_dim):
        yield f"head_dim={head_dim}: only a power of two, {MIN_TILE} or more"
    elif MIN_TILE * head_dim * dtype.itemsize > BLOCK_BYTES:
        yield f"head_dim={head_dim}: at most {BLOCK_BYTES // (MIN_TILE * dtype.itemsize)} in {dtype.name}"
    elif not _power_of_two(page_size):
        yield f"cache.page_size={page_size}: only a power of two"
    elif page_size > _block_tokens(head_dim, dtype):
        yield f"cache.page_size={page_size}: at most {_block_tokens(head_dim, dtype)} at head_dim={head_dim}"


def gpu_paged_attention(
    kernel: Callable[..., Array],
    q: Float[Array, "B N H"],
    keys: Float[Array, "K P S H"],
    values: Float[Array, "K P S H"],
    *,
    table: Int[Array, "B M"],
    lengths: Int[Array, "B"],
) -> Float[Array, "B N H"]:
    """Attention of each row's newest query over its first `lengths` slots.

    The kernel wants queries in the dtype of the pages, already scaled; tables without pages that are not in the pool,
    as it would read there; and as many pages in each part of a row as make whole blocks. Page size 16, 21 pages: blocks
    of 8, so 3 parts of one block, and 3 entries of padding, which `lengths` hides.

    Args:
        kernel: `paged_attention` of jax.experimental.pallas.ops.gpu.
        keys, values: one layer's pool, without `obstacles`.
        table, lengths: the positions m * S to (m + 1) * S - 1 of row b lie in page `table[b, m]`.
    """
    _, num_pages, page_size, head_dim = keys.shape
    width = table.shape[1]
    block = _block_tokens(head_dim, keys.dtype) // page_size
    blocks = -(-width // block)
    in_part = -(-blocks // MAX_SPLITS)
    parts = -(-blocks // in_part)
    known = jnp.pad(
        jnp.minimum(table, num_pages - 1), ((0, 0), (0, parts * in_part * block - width))
    )
    scaled = (q.astype(jnp.float32) * head_dim**-0.5).astype(keys.dtype)
    context = kernel(
        scaled, keys, values, known, lengths, pages_per_compute_block=block, k_splits=parts
    )
    return context.astype(q.dtype)


def _block_tokens(head_dim: int, dtype: jnp.dtype) -> int:
    """A power of two, as the head size is one."""
    return min(BLOCK_TOKENS, BLOCK_BYTES // (head_dim * dtype.itemsize))


def _power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
