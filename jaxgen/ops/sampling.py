"""Logits to the next token: greedy, or drawn at a temperature from the top k and the top p."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt

from jaxgen.specs.workload import Sampling


def next_token(
    logits: Float[Array, "B V"],
    sampling: Sampling,
    *,
    seed: Int[Array, ""] | UInt[Array, ""],
    rows: Int[Array, "B"],
    positions: Int[Array, "B"],
) -> Int[Array, "B"]:
    """Choose one token per row.

    Args:
        logits: of any float dtype; the work is done in float32.
        sampling: static; greedy ignores all that follows.
        seed: of the run.
        rows: number of the prompt in the run, not in the batch.
        positions: of the token to draw. Seed, row and position make the key, so that neither the
            batch, nor the cache, nor the loop changes what is drawn.

    Returns:
        Token ids, int32.
    """
    logits = logits.astype(jnp.float32)
    if sampling.greedy:
        best = jnp.argmax(logits, axis=-1)
        return best.astype(jnp.int32)
    logits = logits / sampling.temperature
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p is not None:
        logits = keep_top_p(logits, sampling.top_p)
    draw_rows = jax.vmap(_draw, in_axes=(0, None, 0, 0))
    return draw_rows(logits, seed, rows, positions)


def keep_top_k(logits: Float[Array, "B V"], k: int) -> Float[Array, "B V"]:
    """Set all but the `k` largest logits to -inf; ties with the k-th stay.

    Source: Fan et al., 2018, "Hierarchical neural story generation".
    """
    # top_k refuses to keep more than there are.
    count = min(k, logits.shape[-1])
    largest, _ = jax.lax.top_k(logits, count)
    kth = largest[:, -1:]  # B 1
    return jnp.where(logits >= kth, logits, -jnp.inf)


def keep_top_p(logits: Float[Array, "B V"], p: float) -> Float[Array, "B V"]:
    """Keep the smallest set of likeliest tokens whose probabilities sum to `p` or more.

    Source: Holtzman et al., 2020, "The curious case of neural text degeneration".
    """
    # The running sum of rounded probabilities may reach 1 before the last token.
    if p >= 1.0:
        return logits
    order = jnp.argsort(-logits, axis=-1)
    ordered = jnp.take_along_axis(
        logits,
        order,
        axis=-1,
    )
    probabilities = jax.nn.softmax(ordered, axis=-1)
    up_to = jnp.cumsum(probabilities, axis=-1)
    before = up_to - probabilities
    # The likeliest token has nothing before it and always stays.
    stays = before < p
    back = jnp.argsort(order, axis=-1)
    stays = jnp.take_along_axis(
        stays,
        back,
        axis=-1,
    )
    return jnp.where(stays, logits, -jnp.inf)


def gumbel_noise(
    seed: Int[Array, ""] | UInt[Array, ""],
    row: Int[Array, ""],
    position: Int[Array, ""],
    *,
    size: int,
) -> Float[Array, "V"]:
    """Return what is added to `size` logits, the largest of which is drawn."""
    # One after the other: row 1 at position 2 must not draw as row 2 at position 1 does.
    run_key = jax.random.key(seed)
    row_key = jax.random.fold_in(run_key, row)
    key = jax.random.fold_in(row_key, position)
    return jax.random.gumbel(key, (size,), jnp.float32)


def _draw(
    logits: Float[Array, "V"],
    seed: Int[Array, ""] | UInt[Array, ""],
    row: Int[Array, ""],
    position: Int[Array, ""],
) -> Int[Array, ""]:
    noise = gumbel_noise(seed, row, position, size=logits.shape[0])
    token = jnp.argmax(logits + noise)
    return token.astype(jnp.int32)
