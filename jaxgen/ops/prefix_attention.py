"""Attention of many rows that begin alike: the common beginning is read once, not once per row."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxgen.ops.quantisation import KVArray


def prefix_attention(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T K H"],
    v: Float[Array, "B T K H"],
    *,
    prefix_k: KVArray,
    prefix_v: KVArray,
    mask: Bool[Array, "T S+T"],
) -> Float[Array, "B T N H"]:
    """Grouped-query attention over a prefix that all rows share, and over each row's own tokens.

    The queries of all rows meet the prefix in one product (Juravsky et al., 2024, "Hydragen"); nothing is copied for
    each row.

    Args:
        q: queries; head `n` reads kv head `n // (N / K)`.
        k: keys, and `v` values, of the rows' own tokens.
        prefix_k, prefix_v: (S, K, H), of the prefix, possibly in a narrower dtype than the queries.
        mask: True where a query may look: the slots of the prefix, then the own tokens; the same in every row.

    Returns:
        The context in the dtype of `q`. Scores and softmax are float32, over prefix and own tokens together.
    """
    batch, time, heads, dim = q.shape
    slots, kv_heads, _ = prefix_k.shape
    grouped = q.reshape(batch, time, kv_heads, heads // kv_heads, dim)  # B T K G H
    wide = jnp.float32
    before = jnp.einsum(
        "btkgh,skh->bkgts", grouped, prefix_k.astype(q.dtype), preferred_element_type=wide
    )
    own = jnp.einsum("btkgh,bukh->bkgtu", grouped, k, preferred_element_type=wide)
    scores = jnp.concatenate([before, own], axis=-1) * dim**-0.5
    scores = jnp.where(mask[None, None, None, :, :], scores, jnp.finfo(wide).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
    context = jnp.einsum("bkgts,skh->btkgh", weights[..., :slots], prefix_v.astype(q.dtype))
    context = context + jnp.einsum("bkgtu,bukh->btkgh", weights[..., slots:], v)
    return context.reshape(batch, time, heads, dim)  # B T N H
