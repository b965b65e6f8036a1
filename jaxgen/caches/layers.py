"""What several caches do to the keys or values of their layers."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxgen.ops.quantisation import KVArray

_Layer = TypeVar("_Layer")  # a buffer, a pool or an array


def replace_layer(layers: tuple[_Layer, ...], layer: int, new: _Layer) -> tuple[_Layer, ...]:
    """Return all layers, with a new one in place of number `layer`."""
    before, after = layers[:layer], layers[layer + 1 :]
    return (*before, new, *after)


def concatenate_slots(before: KVArray, after: KVArray) -> KVArray:
    """Return (B, S, K, H) and (B, T, K, H) as one (B, S + T, K, H)."""

    def join(*parts: Array) -> Array:
        return jnp.concatenate(parts, axis=1)

    return jax.tree.map(join, before, after)


def positions_after(lengths: Int[Array, "B"], time: int) -> Int[Array, "B T"]:
    """Return the next `time` positions behind each row's `lengths` tokens."""
    starts = jnp.expand_dims(lengths, 1)  # B 1
    offsets = jnp.arange(time, dtype=jnp.int32)
    return starts + jnp.expand_dims(offsets, 0)  # B T
