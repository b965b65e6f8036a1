"""int8 with scales: symmetric, one scale for all numbers along an axis."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

LARGEST = 127
"""-128 is not used: what is symmetric needs no offset, and two such numbers multiplied fill 15 bits."""


def quantise(x: Float[Array, "*dims H"]) -> tuple[Int8[Array, "*dims H"], Float[Array, "*dims 1"]]:
    """The nearest of 255 steps between minus and plus the largest magnitude along the last axis.

    Returns:
        Numbers and float32 scales; `numbers * scales` is `x` up to half a scale. All zeros have scale 0.
    """
    wide = x.astype(jnp.float32)
    scales = jnp.max(jnp.abs(wide), axis=-1, keepdims=True) / LARGEST
    steps = wide / jnp.where(scales == 0, 1.0, scales)
    return jnp.round(steps).astype(jnp.int8), scales


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantised:
    """An array kept in int8, a scale for each row of its last axis; caches handle it like any other.

    Both leaves have the same axes, so that what writes, gathers or cuts all axes but the last does to each what it
    does to a plain array: `jax.tree.map` serves either.
    """

    numbers: Int8[Array, "*dims H"]
    scales: Float[Array, "*dims 1"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the numbers."""
        return self.numbers.shape

    @property
    def dtype(self) -> Any:
        """Of the numbers."""
        return self.numbers.dtype

    def __getitem__(self, index: Any) -> Self:
        """`index` leaves the last axis alone."""
        return dataclasses.replace(self, numbers=self.numbers[index], scales=self.scales[index])

    def astype(self, dtype: Any) -> Array:
        """The plain array."""
        return (self.numbers.astype(jnp.float32) * self.scales).astype(dtype)


KVArray = Array | Quantised


def empty(shape: tuple[int, ...], dtype: Any) -> KVArray:
    """Zeros, quantised where `dtype` is int8."""
    if jnp.dtype(dtype) != jnp.int8:
        return jnp.zeros(shape, dtype)
    return Quantised(
        numbers=jnp.zeros(shape, dtype), scales=jnp.zeros((*shape[:-1], 1), jnp.float32)
    )


def cast_like(x: Float[Array, "*dims H"], kept: KVArray) -> KVArray:
    """New numbers as those in `kept` are kept."""
    return Quantised(*quantise(x)) if isinstance(kept, Quantised) else x.astype(kept.dtype)
