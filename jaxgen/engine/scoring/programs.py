"""The pure programs of scoring, in the calling convention of `programs`: (blueprint, leaves, cache, ...).

Rows run from the beginning where the cache keeps nothing, and continue the text of its one row where it does. The
hidden states that are asked for are gathered before the head: a head over every position costs more than the layers.
"""

from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches.protocol import Cache, ReadableCache
from jaxgen.caches.shared_prefix import SharedPrefixView
from jaxgen.engine.programs import Blueprint
from jaxgen.models.decoder import Decoder
from jaxgen.models.structure import Leaves

HEAD_POSITIONS = 64  # at a time: enough for a full-speed product, and (64, V) logits are small


def prefill_query(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    query: Int[Array, "1 T"],
    length: Int[Array, "1"],
) -> Cache:
    """Put the right-padded query into the cache; no logits are asked for."""
    model = blueprint.structure.model(leaves)
    _, cache = model(query, cache, dtype=jnp.dtype(blueprint.activations))
    return cache.advance(length)


def score_labels(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B"],
    labels: Int[Array, "L"],
) -> Float[Array, "B L"]:
    """Probabilities of the labels among themselves after each right-padded row, float32.

    Only the labels' rows of the head are computed.
    """
    model = blueprint.structure.model(leaves)
    last = _last_hidden(blueprint, model, cache, tokens, lengths)
    logits = model.label_logits(last, labels, dtype=jnp.dtype(blueprint.logits))
    return jax.nn.softmax(logits.astype(jnp.float32), axis=-1)


def score_vocabulary(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B"],
    labels: Int[Array, "L"],
) -> Float[Array, "B L"]:
    """Probabilities of the labels among the whole vocabulary after each right-padded row, float32."""
    model = blueprint.structure.model(leaves)
    last = _last_hidden(blueprint, model, cache, tokens, lengths)
    logits = model.logits(last, dtype=jnp.dtype(blueprint.logits)).astype(jnp.float32)
    return jnp.exp(logits[:, labels] - jax.nn.logsumexp(logits, axis=-1, keepdims=True))


def continuation_logprobs(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    tokens: Int[Array, "B T"],
    firsts: Int[Array, "B"],
    targets: Int[Array, "B C"],
) -> tuple[Float[Array, "B C"], Bool[Array, "B C"]]:
    """Log-probability, float32, of each target, and whether it is the likeliest token at its place.

    Args:
        tokens: right-padded rows.
        firsts: the position in each row after which its first target comes; target `c` comes after `firsts + c`.
        targets: right-padded; what stands for padding means nothing.
    """
    model = blueprint.structure.model(leaves)
    hidden, _ = model(
        tokens, _view(blueprint, cache, tokens.shape[0]), dtype=jnp.dtype(blueprint.activations)
    )
    places = firsts[:, None] + jnp.arange(targets.shape[1], dtype=jnp.int32)[None, :]
    places = jnp.minimum(places, tokens.shape[1] - 1)
    asked = jnp.take_along_axis(hidden, places[:, :, None], axis=1).reshape(
        -1, hidden.shape[-1]
    )  # B*C D

    def one(place: tuple[Array, Array]) -> tuple[Array, Array]:
        at, target = place
        logits = model.logits(at, dtype=jnp.dtype(blueprint.logits)).astype(jnp.float32)
        return logits[target] - jax.nn.logsumexp(logits), jnp.argmax(logits) == target

    logprobs, likeliest = jax.lax.map(one, (asked, targets.reshape(-1)), batch_size=HEAD_POSITIONS)
    return logprobs.reshape(targets.shape), likeliest.reshape(targets.shape)  # B*C -> B C


def _last_hidden(
    blueprint: Blueprint,
    model: Decoder,
    cache: Cache,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B"],
) -> Float[Array, "B D"]:
    hidden, _ = model(
        tokens, _view(blueprint, cache, tokens.shape[0]), dtype=jnp.dtype(blueprint.activations)
    )
    return jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]


def _view(blueprint: Blueprint, cache: Cache, rows: int) -> Cache:
    """What the rows see behind them: the one text that the cache holds, or nothing."""
    if not cache.incremental:
        return cache
    prefix = cast(ReadableCache, cache)  # whatever is incremental can be read
    return SharedPrefixView(prefix=prefix, rows=rows, window=blueprint.window)
