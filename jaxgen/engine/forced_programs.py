"""The teacher-forced programs: log-probabilities of tokens that the arm did not choose.

They are jitted here whatever the arm's jit strategy, because nothing is timed and no strategy
changes a number. The jitted functions are module-level and take the blueprint as a static argument:
an equal blueprint finds its program.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxgen.caches.protocol import Cache
from jaxgen.engine.programs import Blueprint
from jaxgen.models.decoder import hidden_from, last_hidden
from jaxgen.models.structure import Leaves


def forced_prefill(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    prompt: Int[Array, "B T"],
    lengths: Int[Array, "B"],
) -> tuple[Cache, Float[Array, "B V"]]:
    """Run the right-padded prompts; return log-probabilities of each row's first output token."""
    model = blueprint.structure.model(leaves)
    activations = jnp.dtype(blueprint.activations)
    hidden, cache = model(prompt, cache, dtype=activations)
    # Gathered before the head: a head over all positions costs more than the layers.
    last = last_hidden(hidden, lengths)
    logits_dtype = jnp.dtype(blueprint.logits)
    logits = model.logits(last, dtype=logits_dtype)
    return cache.advance(lengths), _logprobs(logits)


def forced_steps(
    blueprint: Blueprint,
    chunk: int,
    leaves: Leaves,
    cache: Cache,
    outputs: Int[Array, "B M"],
    counts: Int[Array, "B"],
    first: Int[Array, ""],
    steps: Int[Array, ""],
) -> tuple[Cache, Float[Array, "chunk B V"]]:
    """Feed output tokens `first`, `first` + 1, ..., one a step.

    Args:
        blueprint: static.
        chunk: static; the most steps of a call.
        leaves: the weights.
        cache: after the prefill, and after the chunks before; donated.
        outputs: right-padded tokens to feed.
        counts: how many of them each row has.
        first: the first token that is fed.
        steps: how many are fed, at most `chunk`.

    Returns:
        The cache, and the log-probabilities; entry i is the distribution after token `first + i`.
    """

    def feed(step, carry):
        cache, logprobs = carry
        position = first + step
        token = jax.lax.dynamic_slice_in_dim(outputs, position, 1, axis=1)  # B 1
        # A row without a next token stays where it is, like one that has ended in a generation.
        has_next = position + 1 < counts
        advances = has_next.astype(jnp.int32)
        cache, predicted = forced_step(blueprint, leaves, cache, token, advances)
        logprobs = jax.lax.dynamic_update_index_in_dim(logprobs, predicted, step, axis=0)
        return cache, logprobs

    # Preallocated: nothing in the loop's carry may grow.
    shape = (
        chunk,
        outputs.shape[0],
        blueprint.structure.architecture.vocab_size,
    )
    start = (cache, jnp.zeros(shape, jnp.float32))
    return jax.lax.fori_loop(jnp.int32(0), steps, feed, start)


def forced_step(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    tokens: Int[Array, "B 1"],
    counts: Int[Array, "B"],
) -> tuple[Cache, Float[Array, "B V"]]:
    """Feed one token to each row; `counts` is 0 for a row that has none left, and 1 for others."""
    model = blueprint.structure.model(leaves)
    activations = jnp.dtype(blueprint.activations)
    hidden, cache = model(tokens, cache, dtype=activations)
    logits_dtype = jnp.dtype(blueprint.logits)
    logits = model.logits(hidden[:, 0], dtype=logits_dtype)
    return cache.advance(counts), _logprobs(logits)


def forced_pass(
    blueprint: Blueprint,
    chunk: int,
    leaves: Leaves,
    cache: Cache,
    sequences: Int[Array, "B T"],
    starts: Int[Array, "B"],
) -> Float[Array, "B chunk V"]:
    """Run the right-padded sequences once, with an empty cache.

    Args:
        blueprint: static.
        chunk: static; how many positions of each row are returned.
        leaves: the weights.
        cache: empty; not donated, as every chunk begins with it anew.
        sequences: prompt and outputs of each row.
        starts: the first token of each row whose successor's distribution is returned.

    Returns:
        The log-probabilities after token `starts`, `starts` + 1, ...; what would lie beyond the
        sequence repeats its last position.
    """
    model = blueprint.structure.model(leaves)
    activations = jnp.dtype(blueprint.activations)
    # What this call wrote is dropped: the next chunk begins with the empty cache again.
    hidden, _ = model(sequences, cache, dtype=activations)
    gathered = hidden_from(hidden, starts, chunk)
    logits_dtype = jnp.dtype(blueprint.logits)
    return _logprobs(model.logits(gathered, dtype=logits_dtype))


def _logprobs(
    logits: Float[Array, "*dims V"],
) -> Float[Array, "*dims V"]:
    return jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)


# Static: the blueprint and the size of a chunk; traced: all else. The cache is donated to the two
# programs that are for caches which are written in place.
run_prefill = jax.jit(
    forced_prefill,
    static_argnums=(0,),
    donate_argnums=(2,),
)
run_steps = jax.jit(
    forced_steps,
    static_argnums=(0, 1),
    donate_argnums=(3,),
)
run_pass = jax.jit(forced_pass, static_argnums=(0, 1))
# Nothing is donated: a cache that grows has no buffer that the next one would fit into.
run_prefix = jax.jit(forced_prefill, static_argnums=(0,))
run_step = jax.jit(forced_step, static_argnums=(0,))
