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
    return (unit * scale.astype(jnp.float32) + bias.astype(jnp.float32)).astype(x.dtype)


def rms_norm(x: Float[Array, "*dims D"], scale: Float[Array, "D"], *, eps: float) -> Float[Array, "*dims D"]:
    """Divide by the root mean square, scale (Zhang and Sennrich, 2019)."""
    wide = x.astype(jnp.float32)
    unit = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    return (unit * scale.astype(jnp.float32)).astype(x.dtype)
