"""Layer norm and RMS norm; sums in float32, the result in the dtype of the input."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def layer_norm(
    x: Float[Array, "*dims D"], scale: Float[Array, "D"], bias: Float[Array, "D"], *, eps: float
) -> Float[Array, "*dims D"]:
    """Centre, divide by the standard deviation, scale and shift (Ba et al., 2016)."""
    wide = x.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    unit = centred * jax.lax.rsqrt(variance + eps)
    return (unit * _along(scale, unit) + _along(bias, unit)).astype(x.dtype)


def rms_norm(
    x: Float[Array, "*dims D"], scale: Float[Array, "D"], *, eps: float
) -> Float[Array, "*dims D"]:
    """Divide by the root mean square, scale (Zhang and Sennrich, 2019)."""
    wide = x.astype(jnp.float32)
    unit = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    return (unit * _along(scale, unit)).astype(x.dtype)


def _along(vector: Float[Array, "D"], x: Float[Array, "*dims D"]) -> Float[Array, "*dims D"]:
    """The vector for each position of `x`; ranks are never promoted in silence."""
    return jnp.broadcast_to(vector.astype(x.dtype), x.shape)
