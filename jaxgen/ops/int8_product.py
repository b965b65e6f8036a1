"""Products with int8 weights, a row and a scale for each output channel.

A backend without a product of floats and int8 makes a wide copy of the weights first. XLA on CPU
even hoists it out of a decode loop, so that all of them stand in memory in float32 (0.6 times the
speed of float32 weights at batch 1). Its int8 products read the narrow weights as they are. Hence
on CPU floating activations go into them as two int8 digits: 16 bits instead of 24, exact sums, 2.3
times the speed of float32 weights (2 cores, rows of 768 and 3072).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from jaxgen.ops.quantisation import LARGEST, quantise

FEW_TOKENS = 16
"""On CPU, up to so many tokens two digits cost less than a wide copy of the weights: 1.1 to 1.3
times as fast at 16 tokens and matrices of 768 by 3072, 0.8 times at 32 (2 cores of an AMD EPYC)."""
LARGE = 2**24
"""Of so many weights the wide copy is beyond any cache, and two digits pay for four times as many
tokens: 1.4 times as fast at 64 tokens and a head of 50257 by 768, 0.8 times at 128."""
_STEPS = 2 * LARGEST
"""Steps of the second digit in one of the first: what is left of rounding is half a step of the
first at most."""


def int8_product(
    x: Float[Array, "*dims I"],
    rows: Int8[Array, "O I"],
    scales: Float[Array, "O"],
    *,
    narrow: bool,
    dtype=None,
) -> Float[Array, "*dims O"]:
    """Return `x @ (rows * scales).T`, accumulated in float32 or exactly.

    Args:
        x: activations.
        rows: weights of each output channel.
        scales: float32, one for each output channel.
        narrow: quantise the activations too, a scale for each token.
        dtype: of the result; null is that of `x`.
    """
    if narrow:
        product = _digit_product(x, rows, digits=1)
    elif _two_digits_pay(x, rows):
        product = _digit_product(x, rows, digits=2)
    else:
        product = jnp.einsum(
            "...i,oi->...o",
            x,
            rows.astype(x.dtype),
            preferred_element_type=jnp.float32,
        )
    channel_scales = jnp.broadcast_to(scales, product.shape)
    scaled = product * channel_scales
    if dtype is None:
        dtype = x.dtype
    return scaled.astype(dtype)


def _two_digits_pay(x: Float[Array, "*dims I"], rows: Int8[Array, "O I"]) -> bool:
    """Say whether two int8 products cost less than one with a wide copy of the weights."""
    tokens = x.size // x.shape[-1]
    few = FEW_TOKENS if rows.size < LARGE else 4 * FEW_TOKENS
    return jax.default_backend() == "cpu" and tokens <= few


def _digit_product(
    x: Float[Array, "*dims I"], rows: Int8[Array, "O I"], *, digits: int
) -> Float[Array, "*dims O"]:
    """Return the sums of one or two int8 products; `x` is `(first + second / 254) * scale`."""
    channels, inputs = rows.shape
    flat = x.reshape(-1, inputs)  # n I
    flat = flat.astype(jnp.float32)
    first, scale = quantise(flat)  # n I, n 1
    parts = [first]
    if digits == 2:
        parts.append(_second_digit(flat, first, scale))
    elif flat.shape[0] == 1:
        # Of a single row XLA on CPU makes a loop over wide copies; with a row of zeros it does not.
        parts.append(jnp.zeros_like(first))
    # The digits of a token stay with it, on whatever device of a mesh it is.
    stacked = jnp.stack(parts, axis=1)  # n 2 I
    sums = jnp.einsum(
        "npi,oi->pno",
        stacked,
        rows,
        preferred_element_type=jnp.int32,
    )
    sums = sums.astype(jnp.float32)
    total = sums[0]
    if digits == 2:
        total = total + sums[1] / _STEPS
    scaled = total * scale
    return scaled.reshape(*x.shape[:-1], channels)  # *dims O


def _second_digit(
    x: Float[Array, "n I"], first: Int8[Array, "n I"], scale: Float[Array, "n 1"]
) -> Int8[Array, "n I"]:
    """Return what rounding to the first digit left, in steps of 1 / 254 of it."""
    divisor = jnp.where(scale == 0, 1.0, scale)
    remainder = x / divisor - first.astype(jnp.float32)
    second = jnp.round(remainder * _STEPS)
    return second.astype(jnp.int8)
