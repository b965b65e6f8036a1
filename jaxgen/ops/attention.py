"""Grouped-query attention over keys that are already there; caches decide what a query may see."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxgen.ops.quantisation import KVArray

HIDDEN_SCORE = np.finfo(np.float32).min
"""The score of a key that a query may not see; it is finite, so that no row becomes NaN."""


def attention(
    q: Float[Array, "B T N H"], k: KVArray, v: KVArray, mask: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """Scaled dot-product attention with `G = N / K` query heads to each kv head.

    The formula is that of Vaswani et al., 2017, "Attention is all you need"; the groups are those
    of Ainslie et al., 2023, "GQA".

    Args:
        q: queries; head `n` reads kv head `n // G`.
        k: (B, S, K, H) keys, possibly in a narrower dtype than the queries.
        v: (B, S, K, H) values, likewise.
        mask: True where a query may look. A row that may look nowhere gets the mean of the values.

    Returns:
        The context in the dtype of `q`. Scores and softmax are float32.
    """
    grouped = group_heads(q, k.shape[2])  # B T K G H
    scores = jnp.einsum(
        "btkgh,bskh->bkgts",
        grouped,
        k.astype(q.dtype),
        preferred_element_type=jnp.float32,
    )
    visible = jnp.expand_dims(mask, (1, 2))  # B 1 1 T S
    scaled = scores * q.shape[-1] ** -0.5
    scores = jnp.where(visible, scaled, HIDDEN_SCORE)
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
    context = jnp.einsum(
        "bkgts,bskh->btkgh",
        weights,
        v.astype(q.dtype),
    )
    return context.reshape(q.shape)  # B T N H


def group_heads(q: Float[Array, "B T N H"], kv_heads: int) -> Float[Array, "B T K G H"]:
    """Return the query heads in groups, one group for each kv head."""
    batch, time, heads, head_dim = q.shape
    group_size = heads // kv_heads
    return q.reshape(batch, time, kv_heads, group_size, head_dim)  # B T K G H


def causal_mask(
    positions: Int[Array, "B T"], slots: Int[Array, "B S"], window: int | None = None
) -> Bool[Array, "B T S"]:
    """Return which slots each query sees: those whose position is its own or earlier.

    With a window of 3 a query at position 5 sees the positions 3, 4 and 5.

    Args:
        positions: of the queries.
        slots: the position in each slot; a negative one says that the slot holds nothing.
        window: how many positions a query sees; null is all.
    """
    slot_positions = jnp.expand_dims(slots, 1)  # B 1 S
    query_positions = jnp.expand_dims(positions, 2)  # B T 1
    is_earlier = slot_positions <= query_positions
    is_filled = jnp.expand_dims(slots >= 0, 1)
    visible = is_earlier & is_filled
    if window is None:
        return visible
    is_in_window = slot_positions > query_positions - window
    return visible & is_in_window
