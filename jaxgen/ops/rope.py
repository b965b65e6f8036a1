"""Rotary positions in the half-split layout that Hugging Face's Llama and Qwen use.

Source: Su et al., 2021, "RoFormer".
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen.specs.architecture import RopeScaling


def frequencies(
    head_dim: int, *, theta: float, scaling: RopeScaling | None
) -> Float[np.ndarray, " H2"]:
    """Return the radians per position of each of the `head_dim // 2` planes, float32.

    Llama 3's scaling follows `modeling_rope_utils.py` of Hugging Face transformers: long
    wavelengths are slowed by `factor`, short ones stay, those between are blended linearly.

    Args:
        head_dim: numbers of a head.
        theta: the base of the frequencies.
        scaling: of the frequencies; null is none.
    """
    planes = np.arange(0, head_dim, 2, dtype=np.float64)
    exponents = planes / head_dim
    plain = 1.0 / theta**exponents
    if scaling is None:
        return plain.astype(np.float32)
    # How often a plane turns within the original context decides: seldom is slowed, often stays.
    radians = scaling.original_context * plain
    turns = radians / (2 * np.pi)
    low = scaling.low_freq_factor
    high = scaling.high_freq_factor
    unscaled_share = (turns - low) / (high - low)
    unscaled_share = np.clip(unscaled_share, 0.0, 1.0)
    slowed = (1 - unscaled_share) * plain / scaling.factor
    blended = unscaled_share * plain + slowed
    return blended.astype(np.float32)


def rotation(
    positions: Int[Array, "B T"], freqs: Float[np.ndarray, " H2"]
) -> tuple[Float[Array, "B T 1 H2"], Float[Array, "B T 1 H2"]]:
    """Return cosines and sines of each position's angles, float32, with an axis for the heads.

    Args:
        positions: absolute.
        freqs: radians per position of each plane; H2 is half the head size.
    """
    positions = jnp.expand_dims(positions, (2, 3))  # B T 1 1
    planes = jnp.expand_dims(freqs, (0, 1, 2))  # 1 1 1 H2
    angles = positions.astype(jnp.float32) * planes  # B T 1 H2
    cos = jnp.cos(angles)
    sin = jnp.sin(angles)
    return cos, sin


def rotate(
    x: Float[Array, "B T N H"], cos: Float[Array, "B T 1 H2"], sin: Float[Array, "B T 1 H2"]
) -> Float[Array, "B T N H"]:
    """Turn the planes `(x[i], x[i + H/2])` by the angles of `rotation`.

    It is computed in float32 and returned in the dtype of `x`.
    """
    wide = x.astype(jnp.float32)
    first, second = jnp.split(wide, 2, axis=-1)
    new_first = first * cos - second * sin
    new_second = second * cos + first * sin
    rotated = jnp.concatenate(
        [new_first, new_second],
        axis=-1,
    )
    return rotated.astype(x.dtype)
