"""Grouped-query attention over keys that are already there; the caches decide which keys a query may see."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.ops.quantisation import KVArray


def attention(
    q: Float[Array, "B T N H"], k: KVArray, v: KVArray, mask: Bool[Array, "B T S"]
) -> Float[Array, "B T N H"]:
    """Scaled dot-product attention with `G = N / K` query heads to each kv head.

    Args:
        q: queries; head `n` reads kv head `n // G`.
        k: (B, S, K, H) keys, and `v` values, possibly in a narrower dtype than the queries.
        mask: True where a query may look. A row that may look nowhere gets the mean of the values.

    Returns:
        The context in the dtype of `q`. Scores and softmax are float32.
    """
    batch, time, heads, dim = q.shape
    kv_heads = k.shape[2]
    grouped = q.reshape(batch, time, kv_heads, heads // kv_heads, dim)  # B T K G H
    scores = jnp.einsum(
        "btkgh,bskh->bkgts", grouped, k.astype(q.dtype), preferred_element_type=jnp.float32
    )
    scores = jnp.where(mask[:, None, None, :, :], scores * dim**-0.5, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
    context = jnp.einsum("bkgts,bskh->btkgh", weights, v.astype(q.dtype))
    return context.reshape(batch, time, heads, dim)  # B T N H


def causal_mask(
    positions: Int[Array, "B T"], slots: Int[Array, "B S"], window: int | None = None
) -> Bool[Array, "B T S"]:
    """A query sees the slots whose position is its own or earlier; a slot of a negative position holds nothing.

    With a window of 3 a query at position 5 sees the positions 3, 4 and 5.
    """
    seen = slots[:, None, :] <= positions[:, :, None]
    seen = seen & (slots >= 0)[:, None, :]
    return seen if window is None else seen & (slots[:, None, :] > positions[:, :, None] - window)
