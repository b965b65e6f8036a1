"""Attention over keys that lie in several buffers: each is attended to where it lies, none is copied to another."""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxgen.ops.quantisation import KVArray

Part = tuple[KVArray, KVArray, Bool[Array, "B T S"]]
"""(B, S, K, H) keys, values, and True where a query may look."""


def split_attention(q: Float[Array, "B T N H"], parts: Sequence[Part]) -> Float[Array, "B T N H"]:
    """Grouped-query attention over all parts as if they were one.

    Of each part it keeps the largest score, the sum of the weights and the weighted values; rescaled to the largest
    score of all, they add up (Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867).

    Args:
        q: queries; head `n` reads kv head `n // (N / K)`.
        parts: possibly in a narrower dtype than the queries; each query sees a slot of one of them at least.

    Returns:
        The context in the dtype of `q`. Scores and softmax are float32.
    """
    batch, time, heads, dim = q.shape
    kv_heads = parts[0][0].shape[2]
    grouped = q.reshape(batch, time, kv_heads, heads // kv_heads, dim)  # B T K G H
    found = [_attended(grouped, *part) for part in parts]
    best = functools.reduce(jnp.maximum, [highest for highest, _, _ in found])
    scales = [
        jnp.exp(highest - best) for highest, _, _ in found
    ]  # 0 for a part of which nothing is seen
    pairs = list(zip(scales, found, strict=True))
    total = functools.reduce(jnp.add, [scale * weight for scale, (_, weight, _) in pairs])
    mixed = functools.reduce(
        jnp.add, [scale[..., None] * values for scale, (_, _, values) in pairs]
    )
    context = jnp.moveaxis(mixed / total[..., None], 3, 1)  # B T K G H
    return context.reshape(batch, time, heads, dim).astype(q.dtype)  # B T N H


def _attended(
    grouped: Float[Array, "B T K G H"],
    k: KVArray,
    v: KVArray,
    mask: Bool[Array, "B T S"],
) -> tuple[Float[Array, "B K G T"], Float[Array, "B K G T"], Float[Array, "B K G T H"]]:
    """One part's largest score, sum of weights and weighted values, float32."""
    wide = jnp.float32
    scores = jnp.einsum(
        "btkgh,bskh->bkgts", grouped, k.astype(grouped.dtype), preferred_element_type=wide
    )
    scores = jnp.where(
        mask[:, None, None, :, :], scores * grouped.shape[-1] ** -0.5, jnp.finfo(wide).min
    )
    highest = scores.max(axis=-1)
    weights = jnp.exp(scores - highest[..., None])
    mixed = jnp.einsum(
        "bkgts,bskh->bkgth",
        weights.astype(grouped.dtype),
        v.astype(grouped.dtype),
        preferred_element_type=wide,
    )
    return highest, weights.sum(axis=-1), mixed
