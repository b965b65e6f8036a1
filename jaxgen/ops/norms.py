"""Layer norm and RMS norm; sums in float32, the result in the dtype of the input."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def layer_norm(
    x: Float[Array, "*dims D"], scale: Float[Array, "D"], bias: Float[Array, "D"], *, eps: float
) -> Float[Array, "*dims D"]:
    """Centre, divide by the standard deviation, scale and shift.

    Source: Ba et al., 2016, "Layer normalization".

    Args:
        x: what is normalised, along its last axis.
        scale: factor of each number.
        bias: added to each number.
        eps: added to the variance.
    """
    wide = x.astype(jnp.float32)
    # Centred before it is squared: a mean of squares less a square of the mean loses digits.
    centred = wide - _mean(wide)
    squares = jnp.square(centred)
    variance = _mean(squares)
    inverse = jax.lax.rsqrt(variance + eps)
    unit = centred * inverse
    scaled = unit * _along(scale, unit)
    shifted = scaled + _along(bias, unit)
    return shifted.astype(x.dtype)


def rms_norm(
    x: Float[Array, "*dims D"], scale: Float[Array, "D"], *, eps: float
) -> Float[Array, "*dims D"]:
    """Divide by the root mean square, and scale.

    Source: Zhang and Sennrich, 2019, "Root mean square layer normalization".

    Args:
        x: what is normalised, along its last axis.
        scale: factor of each number.
        eps: added to the mean square.
    """
    wide = x.astype(jnp.float32)
    squares = jnp.square(wide)
    mean_square = _mean(squares)
    inverse = jax.lax.rsqrt(mean_square + eps)
    unit = wide * inverse
    scaled = unit * _along(scale, unit)
    return scaled.astype(x.dtype)


def _mean(x: Float[Array, "*dims D"]) -> Float[Array, "*dims 1"]:
    return jnp.mean(
        x,
        axis=-1,
        keepdims=True,
    )


def _along(vector: Float[Array, "D"], x: Float[Array, "*dims D"]) -> Float[Array, "*dims D"]:
    """Return the vector for each position of `x`; ranks are never promoted in silence."""
    # By hand, both times: tests make an error of every implicit promotion, of dtypes and of ranks.
    wide = vector.astype(x.dtype)
    return jnp.broadcast_to(wide, x.shape)
