"""Attention over keys and values in pages, found through each row's table: what XLA makes of it.

Pools have the heads first: a head's keys of a page lie side by side, so that no product has to
gather them from between those of other heads.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.ops.attention import HIDDEN_SCORE, attention, causal_mask, group_heads
from jaxgen.ops.quantisation import KVArray

_Softmax = tuple[Float[Array, "K B G T"], Float[Array, "K B G T"], Float[Array, "K B G T H"]]
"""The largest score so far, the sum of weights, and the weighted values."""


def gather_pages(pool: KVArray, table: Int[Array, "B M"]) -> KVArray:
    """Return each row's pages in the order of its table, (K, B, M*S, H).

    Args:
        pool: (K, P, S, H) keys or values.
        table: pages of each row; a number that is not in the pool stands for some page that is.
    """

    def copy(array: Array) -> Array:
        pages = array.at[:, table].get(mode="clip")
        kv_heads, batch, width, page_size, head_dim = pages.shape
        slots = width * page_size
        return pages.reshape(kv_heads, batch, slots, head_dim)  # K B M*S H

    return jax.tree.map(copy, pool)


def heads_last(entries: KVArray) -> KVArray:
    """Return (K, B, S, H) as (B, S, K, H)."""
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
    """Copy all pages of the tables together, and attend as if they had always lain there.

    This is the reference for every other way.

    Args:
        q: queries at `positions`; each sees the slots up to its own, `window` of them or all.
        keys: one layer's (K, P, S, H) pool.
        values: likewise.
        table: page m of row b holds the positions m * S to (m + 1) * S - 1.
        positions: of the queries.
        window: positions that a query sees; null is all.
    """
    k = heads_last(gather_pages(keys, table))  # B M*S K H
    v = heads_last(gather_pages(values, table))  # B M*S K H
    batch, slots, _, _ = k.shape
    slot_positions = jnp.arange(slots, dtype=jnp.int32)
    slot_positions = jnp.broadcast_to(slot_positions, (batch, slots))
    mask = causal_mask(positions, slot_positions, window)
    return attention(q, k, v, mask)


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
    """Attend to `pages` pages at a time, which stay in the processor's cache.

    Nothing goes to memory and back. Softmax is kept up to date block by block: the largest score
    so far, the sum of weights, the weighted values (Milakov and Gimelshein, "Online normalizer
    calculation for softmax", arXiv:1805.02867).

    Args:
        q, keys, values, table, positions, window: as of `gather_attention`.
        pages: of a block; divides M.
    """
    kv_heads, _, page_size, _ = keys.shape
    grouped = jnp.moveaxis(group_heads(q, kv_heads), 2, 0)  # K B T G H
    block_slots = pages * page_size
    slots = jnp.arange(block_slots, dtype=jnp.int32)

    def add_block(number, state: _Softmax) -> _Softmax:
        columns = jax.lax.dynamic_slice_in_dim(
            table,
            number * pages,
            pages,
            axis=1,
        )
        k = gather_pages(keys, columns).astype(q.dtype)  # K B s H
        v = gather_pages(values, columns).astype(q.dtype)
        here = jnp.broadcast_to(number * block_slots + slots, (q.shape[0], block_slots))
        mask = causal_mask(positions, here, window)
        scores = _masked_scores(grouped, k, mask)
        return _online_softmax(state, scores, v)

    blocks = table.shape[1] // pages
    start = _empty_softmax(grouped)
    state = jax.lax.fori_loop(0, blocks, add_block, start)
    context = _normalise(state).reshape(q.shape)  # B T N H
    return context.astype(q.dtype)


def _empty_softmax(grouped: Float[Array, "K B T G H"]) -> _Softmax:
    """Return the state before the first block."""
    kv_heads, batch, time, group_size, head_dim = grouped.shape
    sums = (kv_heads, batch, group_size, time)  # K B G T
    # A finite least score: blocks that a query sees nothing of, all -inf, then leave no weight.
    best = jnp.full(sums, HIDDEN_SCORE)
    total = jnp.zeros(sums)
    context = jnp.zeros((*sums, head_dim))
    return best, total, context


def _masked_scores(
    grouped: Float[Array, "K B T G H"], k: Float[Array, "K B s H"], mask: Bool[Array, "B T s"]
) -> Float[Array, "K B G T s"]:
    """Return one block's scaled scores, -inf where a query may not look."""
    scores = jnp.einsum(
        "kbtgh,kbsh->kbgts",
        grouped,
        k,
        preferred_element_type=jnp.float32,
    )
    scores = scores * grouped.shape[-1] ** -0.5
    visible = jnp.expand_dims(mask, (0, 2))  # 1 B 1 T s
    return jnp.where(visible, scores, -jnp.inf)


def _online_softmax(
    state: _Softmax, scores: Float[Array, "K B G T s"], v: Float[Array, "K B s H"]
) -> _Softmax:
    """Add one block's scores and values; what was summed before is rescaled to the new maximum."""
    best, total, context = state
    block_best = scores.max(axis=-1)
    new_best = jnp.maximum(best, block_best)
    weights = jnp.exp(scores - new_best[..., None])
    rescale = jnp.exp(best - new_best)
    block_context = jnp.einsum(
        "kbgts,kbsh->kbgth",
        weights.astype(v.dtype),
        v,
        preferred_element_type=jnp.float32,
    )
    new_total = total * rescale + weights.sum(axis=-1)
    new_context = context * rescale[..., None] + block_context
    return new_best, new_total, new_context


def _normalise(state: _Softmax) -> Float[Array, "B T K G H"]:
    """Divide the weighted values by the sum of the weights."""
    _, total, context = state
    context = context / total[..., None]
    return jnp.einsum("kbgth->btkgh", context)
