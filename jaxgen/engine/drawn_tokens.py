"""What a draw adds to the logits, so that two arms' draws of one seed can be compared.

A token is drawn as the largest of logit plus noise (Gumbel, 1954, "Statistical theory of extreme
values and some practical applications"). Both arms add the same noise, so that they part only where
rounding moves one perturbed logit past another, or one token past the edge of the top k or top p.
"""

import jax.numpy as jnp
import numpy as np

from jaxgen.models.sharding import on_host
from jaxgen.ops.sampling import gumbel_noise
from jaxgen.specs.workload import Sampling

IN, EDGE, OUT = "in", "edge", "out"
"""Whether a token can be drawn: in any case, within rounding of the edge, or in no case."""


def noise_of(tokens: list[int], *, seed: int, row: int, position: int, vocab: int) -> list[float]:
    """Return what a draw adds to the tokens' logits.

    Args:
        tokens: ids.
        seed: of the run.
        row: the number of the prompt.
        position: of the drawn token, prompt included.
        vocab: the size of the vocabulary.
    """
    noise = gumbel_noise(
        jnp.asarray(seed, jnp.uint32),
        jnp.asarray(row, jnp.int32),
        jnp.asarray(position, jnp.int32),
        size=vocab,
    )
    return [float(number) for number in on_host(noise)[tokens]]


def standing(token: int, logprobs: np.ndarray, sampling: Sampling, *, tolerance: float) -> str:
    """Say whether a token is among those that can be drawn: `in`, `edge` or `out`.

    Args:
        token: its id.
        logprobs: (V,) of an arm.
        sampling: says how many can be drawn.
        tolerance: how far rounding may move a log-probability, nats.
    """
    scaled = logprobs.astype(np.float64) / sampling.temperature
    room = 2 * tolerance / sampling.temperature
    value = scaled[token]
    others = np.delete(scaled, token)
    # What rounding cannot put below the token, and what it can put above it.
    surely_above = others > value + room
    perhaps_above = others > value - room
    is_near_edge = False
    if sampling.top_k is not None:
        if surely_above.sum() >= sampling.top_k:
            return OUT
        is_near_edge |= bool(perhaps_above.sum() >= sampling.top_k)
    if sampling.top_p is not None:
        total = np.logaddexp.reduce(scaled)
        shares = np.exp(others - total)
        # The shares themselves move too, all of them by as much at most.
        least_before = shares[surely_above].sum() * np.exp(-room)
        most_before = shares[perhaps_above].sum() * np.exp(room)
        if least_before >= sampling.top_p:
            return OUT
        is_near_edge |= bool(most_before >= sampling.top_p)
    return EDGE if is_near_edge else IN
