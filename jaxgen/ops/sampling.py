"""Logits to the next token: greedy, or drawn at a temperature from the top k and the top p."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.specs.workload import Sampling


def next_token(
    logits: Float[Array, "B V"],
    sampling: Sampling,
    *,
    seed: Int[Array, ""],
    rows: Int[Array, "B"],
    positions: Int[Array, "B"],
) -> Int[Array, "B"]:
    """One token per row.

    Args:
        logits: of any float dtype; the work is done in float32.
        sampling: static; greedy ignores all that follows.
        seed: of the run.
        rows: number of the prompt in the run, not in the batch.
        positions: of the token to draw. Seed, row and position make the key, so that neither the batch, nor the
            cache, nor the loop changes what is drawn.

    Returns:
        Token ids, int32.
    """
    logits = logits.astype(jnp.float32)
    if sampling.greedy:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    return jax.vmap(_draw, in_axes=(0, None, 0, 0))(logits, seed, rows, positions)


def keep_top_k(logits: Float[Array, "B V"], k: int) -> Float[Array, "B V"]:
    """All but the `k` largest become -inf; ties with the k-th stay."""
    kth = jax.lax.top_k(logits, min(k, logits.shape[-1]))[0][:, -1:]
    return jnp.where(logits >= kth, logits, -jnp.inf)


def keep_top_p(logits: Float[Array, "B V"], p: float) -> Float[Array, "B V"]:
    """Keep the smallest set of likeliest tokens whose probabilities sum to `p` or more (Holtzman et al., 2020)."""
    if p >= 1.0:  # the running sum of rounded probabilities may reach 1 before the last token
        return logits
    order = jnp.argsort(-logits, axis=-1)
    probabilities = jax.nn.softmax(jnp.take_along_axis(logits, order, axis=-1), axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    kept_sorted = before < p  # the likeliest token has nothing before it and always stays
    kept = jnp.take_along_axis(kept_sorted, jnp.argsort(order, axis=-1), axis=-1)
    return jnp.where(kept, logits, -jnp.inf)


def _draw(logits: Float[Array, "V"], seed, row, position) -> Int[Array, ""]:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), row), position)
    return jax.random.categorical(key, logits).astype(jnp.int32)
