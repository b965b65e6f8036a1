"""What several caches do to the keys or values of their layers."""

import jax
import jax.numpy as jnp

from jaxgen.ops.quantisation import Kept


def replaced(layers: tuple[Kept, ...], layer: int, kept: Kept) -> tuple[Kept, ...]:
    """All layers, one of them anew."""
    return (*layers[:layer], kept, *layers[layer + 1 :])


def joined(before: Kept, after: Kept) -> Kept:
    """(B, S, K, H) and (B, T, K, H) as (B, S + T, K, H)."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), before, after)
