"""Attention over keys and values that lie in pages, in any order, found through each row's table: what XLA makes of it.

Pools have the heads first: a head's keys of a page lie side by side, so that no product has to gather them from between
those of other heads.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.quantisation import KVArray


def gather_pages(pool: KVArray, table: Int[Array, "B M"]) -> KVArray:
    """Of a (K, P, S, H) pool the pages of each row in the order of its table, as (K, B, M*S, H).

    A page that is not in the pool is some page that is.
    """

    def copied(array: Array) -> Array:
        pages = array.at[:, table].get(mode="clip")  # K B M S H
        return pages.reshape(*pages.shape[:2], -1, pages.shape[-1])

    return jax.tree.map(copied, pool)


def heads_last(entries: KVArray) -> KVArray:
    """(K, B, S, H) as (B, S, K, H)."""
    return jax.tree.map(lambda array: jnp.moveaxis(array, 0, 2), entries)


def gather_attention(
    q: Float[Array, "B T N H"],
    keys: KVArray,
    values: KVArray,
    *,
    table: Int[Array, "B M"],
    positions: Int[Array, "B T"],
    window: int | None = None,
) -> Float[Array, "B T N H"]:
    """The reference: every page of the tables is copied together, then attended to as if it had always lain there.

    Args:
        q: queries at `positions`; each sees the slots up to its own, `window` of them or all.
        keys, values: one layer's (K, P, S, H) pool.
        table: page m of row b holds the positions m * S to (m + 1) * S - 1.
    """
    k, v = (heads_last(gather_pages(pool, table)) for pool in (keys, values))  # B M*S K H
    slots = jnp.broadcast_to(jnp.arange(k.shape[1], dtype=jnp.int32), k.shape[:2])
    return attention(q, k, v, causal_mask(positions, slots, window))


def blockwise_attention(
    q: Float[Array, "B T N H"],
    keys: KVArray,
    values: KVArray,
    *,
    table: Int[Array, "B M"],
    positions: Int[Array, "B T"],
    pages: int,
    window: int | None = None,
) -> Float[Array, "B T N H"]:
    """The same, `pages` pages at a time, which stay in the processor's cache: nothing goes to memory and back.

    Softmax is kept up to date block by block: the largest score so far, the sum of weights, the weighted values
    (Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867).

    Args:
        q, keys, values, table, positions, window: as of `gather_attention`.
        pages: of a block; divides M.
    """
    batch, time, heads, dim = q.shape
    kv_heads, _, size, _ = keys.shape
    grouped = jnp.moveaxis(
        q.reshape(batch, time, kv_heads, heads // kv_heads, dim), 2, 0
    )  # K B T G H
    slots = jnp.arange(pages * size, dtype=jnp.int32)

    def block(number, carry):
        best, total, context = carry
        part = jax.lax.dynamic_slice_in_dim(table, number * pages, pages, axis=1)
        k, v = gather_pages(keys, part).astype(q.dtype), gather_pages(values, part).astype(q.dtype)
        scores = (
            jnp.einsum("kbtgh,kbsh->kbgts", grouped, k, preferred_element_type=jnp.float32)
            * dim**-0.5
        )
        here = jnp.broadcast_to(number * (pages * size) + slots, (batch, pages * size))
        seen = causal_mask(positions, here, window)  # B T s
        scores = jnp.where(seen[None, :, None, :, :], scores, -jnp.inf)
        higher = jnp.maximum(best, scores.max(axis=-1))
        weights = jnp.exp(scores - higher[..., None])
        shrunk = jnp.exp(best - higher)
        mixed = jnp.einsum(
            "kbgts,kbsh->kbgth", weights.astype(q.dtype), v, preferred_element_type=jnp.float32
        )
        return higher, total * shrunk + weights.sum(axis=-1), context * shrunk[..., None] + mixed

    shape = (kv_heads, batch, heads // kv_heads, time)
    # A finite least score: blocks that a query sees nothing of, all -inf, then leave no weight behind.
    start = (
        jnp.full(shape, jnp.finfo(jnp.float32).min),
        jnp.zeros(shape),
        jnp.zeros((*shape, dim)),
    )
    _, total, context = jax.lax.fori_loop(0, table.shape[1] // pages, block, start)
    mixed = jnp.einsum("kbgth->btkgh", context / total[..., None])
    return mixed.reshape(batch, time, heads, dim).astype(q.dtype)  # B T N H
