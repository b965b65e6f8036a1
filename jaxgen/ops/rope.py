"""Rotary positions (Su et al., 2021) in the half-split layout that Hugging Face's Llama and Qwen use."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.specs.architecture import RopeScaling


def frequencies(head_dim: int, *, theta: float, scaling: RopeScaling | None) -> np.ndarray:
    """Radians per position of each of the `head_dim // 2` planes, float32.

    Llama 3's scaling follows `modeling_rope_utils.py` of Hugging Face transformers: long wavelengths are slowed by
    `factor`, short ones kept, those between blended linearly.
    """
    plain = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    if scaling is None:
        return plain.astype(np.float32)
    turns = scaling.original_context * plain / (2 * np.pi)  # full turns within the original context
    span = scaling.high_freq_factor - scaling.low_freq_factor
    keep = np.clip((turns - scaling.low_freq_factor) / span, 0.0, 1.0)
    return (keep * plain + (1 - keep) * plain / scaling.factor).astype(np.float32)


def rotation(
    positions: Int[Array, "B T"], freqs: np.ndarray
) -> tuple[Float[Array, "B T 1 H2"], Float[Array, "B T 1 H2"]]:
    """Cosines and sines of each position's angles, float32, with an axis for the heads."""
    angles = positions[:, :, None, None].astype(jnp.float32) * freqs[None, None, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[Array, "B T N H"], cos: Float[Array, "B T 1 H2"], sin: Float[Array, "B T 1 H2"]
) -> Float[Array, "B T N H"]:
    """Turn the planes `(x[i], x[i + H/2])`; computed in float32, returned in the dtype of `x`."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)
