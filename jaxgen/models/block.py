"""One layer of the decoder: attention around the cache, then the MLP, each behind a norm."""

import functools
from collections.abc import Callable

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxgen.caches.protocol import Cache
from jaxgen.models.linear import linear_of
from jaxgen.models.norm import Norm
from jaxgen.ops import rope
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.dtype import Int8

_ACTIVATIONS = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
}

Tap = Callable[[str, int, Array], None]
"""(site, layer, activations): called while the model is traced."""

Rotary = tuple[Float[Array, "B T 1 H2"], Float[Array, "B T 1 H2"]]
"""Cosines and sines of the tokens' rotary positions."""


class Attention(nnx.Module):
    """Projections around the cache's own attention."""

    def __init__(self, arch: Architecture, *, int8: Int8, rngs: nnx.Rngs):
        query_size = arch.num_heads * arch.head_dim
        kv_size = arch.num_kv_heads * arch.head_dim
        linear = linear_of(int8, rngs=rngs)
        project = functools.partial(linear, arch.hidden_size, bias=arch.qkv_bias)
        self.q = project(query_size)
        self.k = project(kv_size)
        self.v = project(kv_size)
        self.o = linear(
            query_size,
            arch.hidden_size,
            bias=arch.out_bias,
        )
        head_norm = functools.partial(
            Norm,
            arch.head_dim,
            kind="rms",
            eps=arch.norm_eps,
        )
        self.q_norm = head_norm() if arch.qk_norm else None
        self.k_norm = head_norm() if arch.qk_norm else None
        self.head_dim = arch.head_dim

    def __call__(
        self, x: Float[Array, "B T D"], layer: int, cache: Cache, rotary: Rotary | None
    ) -> tuple[Float[Array, "B T D"], Cache]:
        batch, time, _ = x.shape
        heads = (batch, time, -1, self.head_dim)
        q = self.q(x).reshape(heads)  # B T N H
        k = self.k(x).reshape(heads)  # B T K H
        v = self.v(x).reshape(heads)  # B T K H
        # Qwen3 normalises each head's queries and keys; the other families do not.
        if self.q_norm is not None and self.k_norm is not None:
            q = self.q_norm(q)
            k = self.k_norm(k)
        # Keys are rotated before they are stored: a cache never needs to know its tokens' angles.
        if rotary is not None:
            q = rope.rotate(q, *rotary)
            k = rope.rotate(k, *rotary)
        context, cache = cache.attend(layer, q, k, v)
        flat = context.reshape(batch, time, -1)  # B T N*H
        return self.o(flat), cache


class Mlp(nnx.Module):
    """`down(act(up(x)))`, or with a gate `down(act(gate(x)) * up(x))`."""

    def __init__(self, arch: Architecture, *, int8: Int8, rngs: nnx.Rngs):
        linear = functools.partial(
            linear_of(int8, rngs=rngs),
            bias=arch.mlp_bias,
        )
        widen = functools.partial(
            linear,
            arch.hidden_size,
            arch.intermediate_size,
        )
        self.gate = widen() if arch.gated else None
        self.up = widen()
        self.down = linear(arch.intermediate_size, arch.hidden_size)
        self.activation = arch.activation

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        act = _ACTIVATIONS[self.activation]
        if self.gate is None:
            wide = act(self.up(x))
            return self.down(wide)
        gate = act(self.gate(x))
        return self.down(gate * self.up(x))


class Block(nnx.Module):
    """One pre-norm transformer layer."""

    def __init__(self, arch: Architecture, *, int8: Int8, rngs: nnx.Rngs):
        norm = functools.partial(
            Norm,
            arch.hidden_size,
            kind=arch.norm,
            eps=arch.norm_eps,
        )
        self.attention_norm = norm()
        self.attention = Attention(arch, int8=int8, rngs=rngs)
        self.mlp_norm = norm()
        self.mlp = Mlp(arch, int8=int8, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        layer: int,
        cache: Cache,
        rotary: Rotary | None,
        tap: Tap | None,
    ) -> tuple[Float[Array, "B T D"], Cache]:
        # Pre-norm: each part reads a normalised copy and adds to the residual stream as it is.
        attention_in = self.attention_norm(x)
        attention_out, cache = self.attention(attention_in, layer, cache, rotary)
        x = x + attention_out
        mlp_in = self.mlp_norm(x)
        mlp_out = self.mlp(mlp_in)
        x = x + mlp_out
        # Called while this is traced: a program without a tap has no trace of it.
        if tap is not None:
            tap("attention", layer, attention_out)
            tap("mlp", layer, mlp_out)
            tap("residual", layer, x)
        return x, cache
