"""What several caches do to the keys or values of their layers."""

from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxgen.ops.quantisation import Kept

_Kept = TypeVar("_Kept")  # of any kind


def replaced(layers: tuple[_Kept, ...], layer: int, kept: _Kept) -> tuple[_Kept, ...]:
    """All layers, one of them anew."""
    return (*layers[:layer], kept, *layers[layer + 1 :])


def joined(before: Kept, after: Kept) -> Kept:
    """(B, S, K, H) and (B, T, K, H) as (B, S + T, K, H)."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), before, after)
