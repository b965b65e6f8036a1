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
        kernel = jax.random.normal(rngs.params(), (inputs, outputs))
        self.kernel = nnx.Param(kernel * 0.02)
        self.bias = _bias(outputs) if bias else None

    def __call__(self, x: Float[Array, "*dims I"]) -> Float[Array, "*dims O"]:
        # A narrower kernel is widened as it is read; XLA makes it a part of the product.
        kernel = self.kernel[...].astype(x.dtype)
        y = x @ kernel
        return _with_bias(y, self.bias)


class Int8Linear(nnx.Module):
    """The same with a quantised kernel.

    `kernel_rows` are (out, in) in int8, `kernel_scale` is (out,) in float32.

    Args:
        inputs, outputs: sizes.
        bias: whether there is one.
        narrow: quantise what comes in too.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool, narrow: bool):
        # Rows, not columns: the contraction runs along memory, and each row has a scale.
        rows = jnp.zeros((outputs, inputs), jnp.int8)
        self.kernel_rows = nnx.Param(rows)
        self.kernel_scale = nnx.Param(jnp.ones((outputs,)))
        self.bias = _bias(outputs) if bias else None
        self.narrow = narrow

    def __call__(self, x: Float[Array, "*dims I"]) -> Float[Array, "*dims O"]:
        y = int8_product(
            x,
            self.kernel_rows[...],
            self.kernel_scale[...],
            narrow=self.narrow,
        )
        return _with_bias(y, self.bias)


def linear_of(int8: Int8, *, rngs: nnx.Rngs) -> Callable[..., Linear | Int8Linear]:
    """Return what makes a layer of (inputs, outputs, bias=)."""
    if int8 is Int8.none:
        return functools.partial(Linear, rngs=rngs)
    # No random numbers: int8 rows are always made of a floating tensor as it is loaded.
    narrow = int8 is Int8.both
    return functools.partial(Int8Linear, narrow=narrow)


def _bias(outputs: int) -> nnx.Param:
    return nnx.Param(jnp.zeros((outputs,)))


def _with_bias(y: Float[Array, "*dims O"], bias: nnx.Param | None) -> Float[Array, "*dims O"]:
    if bias is None:
        return y
    # Ranks are never promoted in silence: tests make that an error.
    values = bias[...].astype(y.dtype)
    return y + jnp.broadcast_to(values, y.shape)
