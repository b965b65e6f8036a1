"""The norm before each part of a layer, and behind the last layer."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxgen.ops import norms


class Norm(nnx.Module):
    """Layer norm or RMS norm over the last axis."""

    def __init__(self, size: int, *, kind: str, eps: float):
        # An RMS norm has no bias, which is how a call tells the two apart.
        bias = None
        if kind == "layer":
            bias = nnx.Param(jnp.zeros((size,)))
        self.scale = nnx.Param(jnp.ones((size,)))
        self.bias = bias
        self.eps = eps

    def __call__(self, x: Float[Array, "*dims D"]) -> Float[Array, "*dims D"]:
        scale = self.scale[...]
        if self.bias is None:
            return norms.rms_norm(x, scale, eps=self.eps)
        bias = self.bias[...]
        # GPT-2 alone: the other families have RMS norms.
        return norms.layer_norm(x, scale, bias, eps=self.eps)
