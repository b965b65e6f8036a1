"""The pure programs of scoring: (blueprint, leaves, cache, ...), as `engine.programs` has them.

Rows run from the beginning where the cache keeps nothing, and continue the sequence of its one row
where it does. Hidden states are gathered before the head: a head over every position costs more
than the layers.
"""

import functools
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches.protocol import Cache, ReadableCache
from jaxgen.caches.shared_prefix import SharedPrefixView
from jaxgen.engine.programs import Blueprint
from jaxgen.models.decoder import Decoder, hidden_from, last_hidden
from jaxgen.models.structure import Leaves

HEAD_POSITIONS = 64  # at a time: enough for a full-speed product, and (64, V) logits are small


def prefill_query(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    query: Int[Array, "1 T"],
    length: Int[Array, "1"],
) -> Cache:
    """Put the right-padded query into the cache; no logits are needed."""
    model = blueprint.structure.model(leaves)
    activations = jnp.dtype(blueprint.activations)
    _, cache = model(query, cache, dtype=activations)
    return cache.advance(length)


def score_labels(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B"],
    labels: Int[Array, "L"],
) -> Float[Array, "B L"]:
    """Return the labels' probabilities among themselves after each right-padded row, float32.

    Only the labels' rows of the head are computed.
    """
    model = blueprint.structure.model(leaves)
    last = _last_hidden(blueprint, model, cache, tokens, lengths)
    logits_dtype = jnp.dtype(blueprint.logits)
    logits = model.label_logits(last, labels, dtype=logits_dtype)
    return jax.nn.softmax(logits.astype(jnp.float32), axis=-1)


def score_vocabulary(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B"],
    labels: Int[Array, "L"],
) -> Float[Array, "B L"]:
    """Return the labels' probabilities in the vocabulary after each right-padded row, float32."""
    model = blueprint.structure.model(leaves)
    last = _last_hidden(blueprint, model, cache, tokens, lengths)
    logits_dtype = jnp.dtype(blueprint.logits)
    logits = model.logits(last, dtype=logits_dtype)
    logits = logits.astype(jnp.float32)
    # Only the labels' entries of the softmax: the others need no exponent.
    total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return jnp.exp(logits[:, labels] - total)


def continuation_logprobs(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    tokens: Int[Array, "B T"],
    firsts: Int[Array, "B"],
    targets: Int[Array, "B C"],
) -> tuple[Float[Array, "B C"], Bool[Array, "B C"]]:
    """Return each target's log-probability, float32, and whether it is the likeliest token there.

    Args:
        blueprint: closed over.
        leaves: the weights.
        cache: empty, or with the one sequence that the rows continue.
        tokens: right-padded rows.
        firsts: the position in each row after which its first target comes; target `c` comes after
            `firsts + c`.
        targets: right-padded; what stands for padding means nothing.
    """
    model = blueprint.structure.model(leaves)
    view = _view(blueprint, cache, tokens.shape[0])
    activations = jnp.dtype(blueprint.activations)
    hidden, _ = model(tokens, view, dtype=activations)
    gathered = hidden_from(hidden, firsts, targets.shape[1])
    gathered = gathered.reshape(-1, hidden.shape[-1])  # B C D -> B*C D
    # The logits of all positions at once would not fit: (B*C, V) in float32.
    logprobs, is_likeliest = jax.lax.map(
        functools.partial(_of_position, blueprint, model),
        (gathered, targets.reshape(-1)),
        batch_size=HEAD_POSITIONS,
    )
    # B*C -> B C
    logprobs = logprobs.reshape(targets.shape)
    return logprobs, is_likeliest.reshape(targets.shape)


def _of_position(
    blueprint: Blueprint,
    model: Decoder,
    position: tuple[Array, Array],
) -> tuple[Array, Array]:
    """The log-probability of one target after one hidden state, and whether it is the likeliest."""
    hidden, target = position
    logits_dtype = jnp.dtype(blueprint.logits)
    logits = model.logits(hidden, dtype=logits_dtype)
    logits = logits.astype(jnp.float32)
    logprob = logits[target] - jax.nn.logsumexp(logits)
    return logprob, jnp.argmax(logits) == target


def _last_hidden(
    blueprint: Blueprint,
    model: Decoder,
    cache: Cache,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B"],
) -> Float[Array, "B D"]:
    """The hidden state of each row's last token."""
    view = _view(blueprint, cache, tokens.shape[0])
    activations = jnp.dtype(blueprint.activations)
    hidden, _ = model(tokens, view, dtype=activations)
    return last_hidden(hidden, lengths)


def _view(blueprint: Blueprint, cache: Cache, rows: int) -> Cache:
    """What the rows see before them: the one sequence that the cache holds, or nothing."""
    if not cache.incremental:
        return cache
    prefix = cast(ReadableCache, cache)  # whatever is incremental can be read
    return SharedPrefixView(prefix=prefix, rows=rows, window=blueprint.window)
