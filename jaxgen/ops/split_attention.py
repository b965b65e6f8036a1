"""Attention over keys in several buffers: each is attended to where it lies, none is copied."""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxgen.ops.attention import HIDDEN_SCORE, group_heads
from jaxgen.ops.quantisation import KVArray

Part = tuple[KVArray, KVArray, Bool[Array, "B T S"]]
"""(B, S, K, H) keys, values, and True where a query may look."""

_Softmax = tuple[Float[Array, "B K G T"], Float[Array, "B K G T"], Float[Array, "B K G T H"]]
"""A part's largest score, sum of weights and weighted values."""


def split_attention(q: Float[Array, "B T N H"], parts: Sequence[Part]) -> Float[Array, "B T N H"]:
    """Grouped-query attention over all parts as if they were one.

    Of each part it keeps the largest score, the sum of the weights and the weighted values;
    rescaled to the largest score of all, they add up (Milakov and Gimelshein, "Online normalizer
    calculation for softmax", arXiv:1805.02867).

    Args:
        q: queries; head `n` reads kv head `n // (N / K)`.
        parts: possibly in a narrower dtype than the queries; each query sees a slot of one of them
            at least.

    Returns:
        The context in the dtype of `q`. Scores and softmax are float32.
    """
    kv_heads = parts[0][0].shape[2]
    grouped = group_heads(q, kv_heads)  # B T K G H
    softmaxes = [_partial_softmax(grouped, *part) for part in parts]
    highest_scores = [highest for highest, _, _ in softmaxes]
    best = functools.reduce(jnp.maximum, highest_scores)
    totals = []
    contexts = []
    for highest, total, context in softmaxes:
        # The scale is 0 for a part of which nothing is seen.
        scale = jnp.exp(highest - best)
        totals.append(scale * total)
        contexts.append(scale[..., None] * context)
    total = functools.reduce(jnp.add, totals)
    context = functools.reduce(jnp.add, contexts)
    context = context / total[..., None]
    context = jnp.moveaxis(context, 3, 1)  # B T K G H
    context = context.reshape(q.shape)  # B T N H
    return context.astype(q.dtype)


def _partial_softmax(
    grouped: Float[Array, "B T K G H"],
    k: KVArray,
    v: KVArray,
    mask: Bool[Array, "B T S"],
) -> _Softmax:
    """Attend to one part alone, without dividing by the sum of the weights; float32."""
    scores = jnp.einsum(
        "btkgh,bskh->bkgts",
        grouped,
        k.astype(grouped.dtype),
        preferred_element_type=jnp.float32,
    )
    visible = jnp.expand_dims(mask, (1, 2))  # B 1 1 T S
    scaled = scores * grouped.shape[-1] ** -0.5
    scores = jnp.where(visible, scaled, HIDDEN_SCORE)
    highest = scores.max(axis=-1)
    distances = scores - highest[..., None]
    weights = jnp.exp(distances)
    context = jnp.einsum(
        "bkgts,bskh->bkgth",
        weights.astype(grouped.dtype),
        v.astype(grouped.dtype),
        preferred_element_type=jnp.float32,
    )
    return highest, weights.sum(axis=-1), context
