"""int8 with scales: symmetric, one scale for all numbers along an axis."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

LARGEST = 127
"""-128 is not used: what is symmetric needs no offset, and two such numbers multiplied fill 15
bits."""


def quantise(x: Float[Array, "*dims H"]) -> tuple[Int8[Array, "*dims H"], Float[Array, "*dims 1"]]:
    """Round to the nearest of 255 steps between minus and plus the largest magnitude.

    It is symmetric absolute-maximum quantisation along the last axis (section 3 of Jacob et al.,
    2018, "Quantization and training of neural networks", without the zero point).

    Returns:
        Numbers and float32 scales; `numbers * scales` is `x` up to half a scale. All zeros have
        scale 0.
    """
    wide = x.astype(jnp.float32)
    largest = jnp.max(
        jnp.abs(wide),
        axis=-1,
        keepdims=True,
    )
    scales = largest / LARGEST
    # Zeros alone have no largest magnitude to divide by; with a scale of 0 they stay zeros.
    divisors = jnp.where(scales == 0, 1.0, scales)
    steps = jnp.round(wide / divisors)
    return steps.astype(jnp.int8), scales


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantised:
    """An array stored in int8, a scale for each row of its last axis; caches use it like any other.

    Both leaves have the same axes, so that what writes, gathers or cuts all axes but the last does
    to each what it does to a plain array: `jax.tree.map` serves either.
    """

    numbers: Int8[Array, "*dims H"]
    scales: Float[Array, "*dims 1"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the numbers."""
        return self.numbers.shape

    @property
    def dtype(self) -> Any:
        """Return the dtype of the numbers."""
        return self.numbers.dtype

    def __getitem__(self, index: Any) -> Self:
        """Return a part; `index` leaves the last axis alone."""
        numbers = self.numbers[index]
        scales = self.scales[index]
        return dataclasses.replace(
            self,
            numbers=numbers,
            scales=scales,
        )

    def astype(self, dtype: Any) -> Array:
        """Return the plain array."""
        wide = self.numbers.astype(jnp.float32) * self.scales
        return wide.astype(dtype)


KVArray = Array | Quantised
"""Keys or values as a cache stores them."""


def empty(shape: tuple[int, ...], dtype: Any) -> KVArray:
    """Return zeros, quantised where `dtype` is int8."""
    numbers = jnp.zeros(shape, dtype)
    if jnp.dtype(dtype) != jnp.int8:
        return numbers
    # With a scale of 0 an empty slot reads as zeros.
    scales = jnp.zeros((*shape[:-1], 1), jnp.float32)
    return Quantised(numbers=numbers, scales=scales)


def cast_like(x: Float[Array, "*dims H"], stored: KVArray) -> KVArray:
    """Return `x` in the dtype of `stored`, quantised where that is."""
    if isinstance(stored, Quantised):
        return Quantised(*quantise(x))
    return x.astype(stored.dtype)
