"""What several caches do to the keys or values of their layers."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxgen.ops.quantisation import KVArray

_Layer = TypeVar("_Layer")  # a buffer, a pool or an array


def replace_layer(layers: tuple[_Layer, ...], layer: int, new: _Layer) -> tuple[_Layer, ...]:
    """Return all layers, with a new one in place of number `layer`."""
    return (*layers[:layer], new, *layers[layer + 1 :])


def concatenate_slots(before: KVArray, after: KVArray) -> KVArray:
    """Return (B, S, K, H) and (B, T, K, H) as one (B, S + T, K, H)."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), before, after)


def positions_after(lengths: Int[Array, "B"], time: int) -> Int[Array, "B T"]:
    """Return the next `time` positions behind each row's `lengths` tokens."""
    return lengths[:, None] + jnp.arange(time, dtype=jnp.int32)[None, :]
