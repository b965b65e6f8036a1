"""Attention of many rows that begin alike: the common beginning is read once, not once per row."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxgen.ops.attention import HIDDEN_SCORE, group_heads
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

    The queries of all rows meet the prefix in one product (Juravsky et al., 2024, "Hydragen");
    nothing is copied for each row.

    Args:
        q: queries; head `n` reads kv head `n // (N / K)`.
        k: keys of the rows' own tokens.
        v: values of the rows' own tokens.
        prefix_k: (S, K, H), keys of the prefix, possibly in a narrower dtype than the queries.
        prefix_v: (S, K, H), values of the prefix, likewise.
        mask: True where a query may look: the slots of the prefix, then the own tokens; the same in
            every row.

    Returns:
        The context in the dtype of `q`. Scores and softmax are float32, over prefix and own tokens
        together.
    """
    slots, kv_heads, head_dim = prefix_k.shape
    grouped = group_heads(q, kv_heads)  # B T K G H
    prefix_scores = jnp.einsum(
        "btkgh,skh->bkgts",
        grouped,
        prefix_k.astype(q.dtype),
        preferred_element_type=jnp.float32,
    )
    own_scores = jnp.einsum(
        "btkgh,bukh->bkgtu",
        grouped,
        k,
        preferred_element_type=jnp.float32,
    )
    scores = jnp.concatenate([prefix_scores, own_scores], axis=-1) * head_dim**-0.5
    visible = jnp.expand_dims(mask, (0, 1, 2))  # 1 1 1 T S+T
    scores = jnp.where(visible, scores, HIDDEN_SCORE)
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
    prefix_context = jnp.einsum(
        "bkgts,skh->btkgh",
        weights[..., :slots],
        prefix_v.astype(q.dtype),
    )
    own_context = jnp.einsum("bkgtu,bukh->btkgh", weights[..., slots:], v)
    context = prefix_context + own_context
    return context.reshape(q.shape)  # B T N H
