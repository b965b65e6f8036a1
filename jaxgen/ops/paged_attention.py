"""Attention over keys and values that lie in pages, in any order, found through each row's table."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.ops.attention import attention, causal_mask


def gathered(pool: Float[Array, "P S K H"], table: Int[Array, "B M"]) -> Float[Array, "B M*S K H"]:
    """The pages of each row in the order of its table; a page that is not in the pool is some page that is."""
    pages = pool.at[table].get(mode="clip")  # B M S K H
    return pages.reshape(pages.shape[0], -1, *pages.shape[3:])


def gather_attention(
    q: Float[Array, "B T N H"],
    keys: Float[Array, "P S K H"],
    values: Float[Array, "P S K H"],
    *,
    table: Int[Array, "B M"],
    positions: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """The reference: every page of the tables is copied together, then attended to as if it had always lain there.

    Args:
        q: queries at `positions`; each sees the slots up to its own.
        keys, values: one layer's pool.
        table: page m of row b holds the positions m * S to (m + 1) * S - 1.
    """
    k, v = gathered(keys, table), gathered(values, table)
    slots = jnp.broadcast_to(jnp.arange(k.shape[1], dtype=jnp.int32), k.shape[:2])
    return attention(q, k, v, causal_mask(positions, slots))


def blockwise_attention(
    q: Float[Array, "B T N H"],
    keys: Float[Array, "P S K H"],
    values: Float[Array, "P S K H"],
    *,
    table: Int[Array, "B M"],
    positions: Int[Array, "B T"],
    pages: int,
) -> Float[Array, "B T N H"]:
    """The same, `pages` pages at a time, which stay in the processor's cache: nothing goes to memory and back.

    Softmax is kept up to date block by block: the largest score so far, the sum of weights, the weighted values
    (Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867).

    Args:
        q, keys, values, table, positions: as of `gather_attention`.
        pages: of a block; divides M.
    """
    batch, time, heads, dim = q.shape
    size, kv_heads = keys.shape[1:3]
    grouped = q.reshape(batch, time, kv_heads, heads // kv_heads, dim)  # B T K G H
    slots = jnp.arange(pages * size, dtype=jnp.int32)

    def block(number, carry):
        best, total, context = carry
        part = jax.lax.dynamic_slice_in_dim(table, number * pages, pages, axis=1)
        k, v = gathered(keys, part).astype(q.dtype), gathered(values, part).astype(q.dtype)
        scores = jnp.einsum("btkgh,bskh->bkgts", grouped, k, preferred_element_type=jnp.float32) * dim**-0.5
        seen = number * (pages * size) + slots[None, None, :] <= positions[:, :, None]  # B T s
        scores = jnp.where(seen[:, None, None, :, :], scores, -jnp.inf)
        higher = jnp.maximum(best, scores.max(axis=-1))
        weights = jnp.exp(scores - higher[..., None])
        shrunk = jnp.exp(best - higher)
        mixed = jnp.einsum("bkgts,bskh->bkgth", weights.astype(q.dtype), v, preferred_element_type=jnp.float32)
        return higher, total * shrunk + weights.sum(axis=-1), context * shrunk[..., None] + mixed

    shape = (batch, kv_heads, heads // kv_heads, time)
    # A finite least score: the first block holds position 0, which every query sees, so that it never stays.
    start = (jnp.full(shape, jnp.finfo(jnp.float32).min), jnp.zeros(shape), jnp.zeros((*shape, dim)))
    _, total, context = jax.lax.fori_loop(0, table.shape[1] // pages, block, start)
    return jnp.moveaxis(context / total[..., None], 3, 1).reshape(batch, time, heads, dim).astype(q.dtype)
