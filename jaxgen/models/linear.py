"""Linear layers: with a floating kernel, or with int8 rows."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxgen.ops.int8_product import int8_product
from jaxgen.specs.dtype import Int8


class Linear(nnx.Module):
    """`x @ kernel + bias`, computed in the dtype of `x`."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (inputs, outputs)) * 0.02)
        self.bias = nnx.Param(jnp.zeros((outputs,))) if bias else None

    def __call__(self, x: Float[Array, "*dims I"]) -> Float[Array, "*dims O"]:
        y = x @ self.kernel[...].astype(x.dtype)
        return (
            y
            if self.bias is None
            else y + jnp.broadcast_to(self.bias[...].astype(x.dtype), y.shape)
        )


class Int8Linear(nnx.Module):
    """The same with a quantised kernel: `kernel_rows` (out, in) in int8, `kernel_scale` (out,) in float32.

    Args:
        narrow: quantise what comes in too.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool, narrow: bool):
        self.kernel_rows = nnx.Param(jnp.zeros((outputs, inputs), jnp.int8))
        self.kernel_scale = nnx.Param(jnp.ones((outputs,)))
        self.bias = nnx.Param(jnp.zeros((outputs,))) if bias else None
        self.narrow = narrow

    def __call__(self, x: Float[Array, "*dims I"]) -> Float[Array, "*dims O"]:
        y = int8_product(x, self.kernel_rows[...], self.kernel_scale[...], narrow=self.narrow)
        return (
            y
            if self.bias is None
            else y + jnp.broadcast_to(self.bias[...].astype(x.dtype), y.shape)
        )


def linear_of(int8: Int8, *, rngs: nnx.Rngs) -> Callable[..., Linear | Int8Linear]:
    """What makes a layer of (inputs, outputs, bias=)."""
    if int8 is Int8.none:
        return functools.partial(Linear, rngs=rngs)
    return functools.partial(Int8Linear, narrow=int8 is Int8.both)
