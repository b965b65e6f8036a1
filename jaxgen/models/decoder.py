"""The decoder: GPT-2, Llama, Mistral, Qwen2 and Qwen3 are this one module with other values of `Architecture`.

Kernels are stored (in, out), in int8 as rows (out, in); the embedding and an untied head (V, D), contracted in place.
Layers are unrolled: a `lax.scan` over them halves compile time and costs up to 2.5 times at decode on CPU.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxgen.caches.protocol import Cache
from jaxgen.models.linear import linear_of
from jaxgen.models.sharding import Layout
from jaxgen.ops import norms, rope
from jaxgen.ops.int8_product import int8_product
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


class Norm(nnx.Module):
    """Layer norm or RMS norm over the last axis."""

    def __init__(self, size: int, *, kind: str, eps: float):
        self.scale = nnx.Param(jnp.ones((size,)))
        self.bias = nnx.Param(jnp.zeros((size,))) if kind == "layer" else None
        self.eps = eps

    def __call__(self, x: Float[Array, "*dims D"]) -> Float[Array, "*dims D"]:
        if self.bias is None:
            return norms.rms_norm(x, self.scale[...], eps=self.eps)
        return norms.layer_norm(x, self.scale[...], self.bias[...], eps=self.eps)


class Attention(nnx.Module):
    """Projections around the cache's own attention."""

    def __init__(self, arch: Architecture, *, int8: Int8, rngs: nnx.Rngs):
        query_size, kv_size = arch.num_heads * arch.head_dim, arch.num_kv_heads * arch.head_dim
        linear = linear_of(int8, rngs=rngs)
        self.q = linear(arch.hidden_size, query_size, bias=arch.qkv_bias)
        self.k = linear(arch.hidden_size, kv_size, bias=arch.qkv_bias)
        self.v = linear(arch.hidden_size, kv_size, bias=arch.qkv_bias)
        self.o = linear(query_size, arch.hidden_size, bias=arch.out_bias)
        self.q_norm = Norm(arch.head_dim, kind="rms", eps=arch.norm_eps) if arch.qk_norm else None
        self.k_norm = Norm(arch.head_dim, kind="rms", eps=arch.norm_eps) if arch.qk_norm else None
        self.head_dim = arch.head_dim

    def __call__(
        self, x: Float[Array, "B T D"], layer: int, cache: Cache, turn: tuple[Array, Array] | None
    ) -> tuple[Float[Array, "B T D"], Cache]:
        batch, time, _ = x.shape
        heads = (batch, time, -1, self.head_dim)
        q, k, v = (
            self.q(x).reshape(heads),
            self.k(x).reshape(heads),
            self.v(x).reshape(heads),
        )  # B T N|K H
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None:
            q, k = rope.rotate(q, *turn), rope.rotate(k, *turn)
        context, cache = cache.attend(layer, q, k, v)
        return self.o(context.reshape(batch, time, -1)), cache  # B T N*H -> B T D


class Mlp(nnx.Module):
    """`down(act(up(x)))`, or with a gate `down(act(gate(x)) * up(x))`."""

    def __init__(self, arch: Architecture, *, int8: Int8, rngs: nnx.Rngs):
        linear = functools.partial(linear_of(int8, rngs=rngs), bias=arch.mlp_bias)
        wide = functools.partial(linear, arch.hidden_size, arch.intermediate_size)
        self.gate = wide() if arch.gated else None
        self.up = wide()
        self.down = linear(arch.intermediate_size, arch.hidden_size)
        self.activation = arch.activation

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        act = _ACTIVATIONS[self.activation]
        return self.down(act(self.up(x)) if self.gate is None else act(self.gate(x)) * self.up(x))


class Block(nnx.Module):
    """One pre-norm transformer layer."""

    def __init__(self, arch: Architecture, *, int8: Int8, rngs: nnx.Rngs):
        norm = functools.partial(Norm, arch.hidden_size, kind=arch.norm, eps=arch.norm_eps)
        self.attention_norm = norm()
        self.attention = Attention(arch, int8=int8, rngs=rngs)
        self.mlp_norm = norm()
        self.mlp = Mlp(arch, int8=int8, rngs=rngs)

    def __call__(
        self, x, layer: int, cache: Cache, turn, tap: Tap | None
    ) -> tuple[Float[Array, "B T D"], Cache]:
        mixed, cache = self.attention(self.attention_norm(x), layer, cache, turn)
        x = x + mixed
        thought = self.mlp(self.mlp_norm(x))
        x = x + thought
        if tap is not None:
            for site, activations in (("attention", mixed), ("mlp", thought), ("residual", x)):
                tap(site, layer, activations)
        return x, cache


class Decoder(nnx.Module):
    """Token ids to hidden states, and hidden states to logits.

    Args:
        architecture: what is built.
        int8: which side of each product is quantised; the table of the logits is then int8 with a scale for each
            token, `embedding_scale` where it is the embedding too, else `head_scale`.

    Example:
        >>> model = Decoder(architecture, rngs=nnx.Rngs(0))
        >>> batch, time = tokens.shape
        >>> hidden, _ = model(tokens, Recompute(batch=batch, visible=time, static_shape=False))
        >>> model.logits(hidden).shape == (batch, time, architecture.vocab_size)
        True
    """

    def __init__(self, architecture: Architecture, *, int8: Int8 = Int8.none, rngs: nnx.Rngs):
        arch = architecture
        table = functools.partial(jax.random.normal, dtype=jnp.float32)
        scale = functools.partial(nnx.Param, jnp.ones((arch.vocab_size,)))
        self.embedding = nnx.Param(table(rngs.params(), (arch.vocab_size, arch.hidden_size)) * 0.02)
        self.embedding_scale = scale() if arch.tied and int8 is not Int8.none else None
        learned = arch.position == "learned"
        self.position = (
            nnx.Param(table(rngs.params(), (arch.context, arch.hidden_size)) * 0.02)
            if learned
            else None
        )
        self.blocks = nnx.List([Block(arch, int8=int8, rngs=rngs) for _ in range(arch.num_layers)])
        self.norm = Norm(arch.hidden_size, kind=arch.norm, eps=arch.norm_eps)
        self.head = (
            None
            if arch.tied
            else nnx.Param(table(rngs.params(), (arch.vocab_size, arch.hidden_size)) * 0.02)
        )
        self.head_scale = scale() if not arch.tied and int8 is not Int8.none else None
        self.arch = arch
        self.narrow = int8 is Int8.both
        self.layout: Layout | None = None  # on a single device

    def __call__(
        self, tokens: Int[Array, "B T"], cache: Cache, *, dtype=jnp.float32, tap: Tap | None = None
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """Run the layers over the incoming tokens.

        Args:
            tokens: ids, right-padded.
            cache: says the tokens' positions, keeps their keys and values; its index does not move here.
            dtype: of the activations.
            tap: told of each layer's (B, T, D) activations while this is traced, as (site, layer, array): what
                `attention` and `mlp` add, and the `residual` stream after both.

        Returns:
            The normalised last hidden states in `dtype`, and the cache with the tokens written.
        """
        positions = cache.positions(tokens.shape[1])
        x = self._embedded(tokens).astype(dtype)
        turn = None
        if self.position is not None:
            x = x + self.position[...][positions].astype(dtype)
        else:
            freqs = rope.frequencies(
                self.arch.head_dim, theta=self.arch.rope_theta, scaling=self.arch.rope_scaling
            )
            turn = rope.rotation(positions, freqs)
        x = self._settled(x)
        for layer, block in enumerate(self.blocks):
            x, cache = block(x, layer, cache, turn, tap)
            x = self._settled(x)
        return self._settled(self.norm(x)), cache

    def logits(
        self, hidden: Float[Array, "*dims D"], *, dtype=jnp.float32
    ) -> Float[Array, "*dims V"]:
        """Contract with the (V, D) table in place, accumulating in `dtype`."""
        return self._contracted(hidden, *self._head(), dtype=dtype)

    def label_logits(
        self, hidden: Float[Array, "*dims D"], labels: Int[Array, "L"], *, dtype=jnp.float32
    ) -> Float[Array, "*dims L"]:
        """The logits of some token ids alone: only their rows of the table are read."""
        table, scale = self._head()
        return self._contracted(
            hidden, table[labels], None if scale is None else scale[labels], dtype=dtype
        )

    def _embedded(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        found = self.embedding[...][tokens]
        scale = self.embedding_scale
        return found if scale is None else found.astype(jnp.float32) * scale[...][tokens][..., None]

    def _head(self) -> tuple[Array, Array | None]:
        """The table of the logits and, in int8, its scales."""
        table, scale = (
            (self.embedding, self.embedding_scale)
            if self.head is None
            else (self.head, self.head_scale)
        )
        return table[...], None if scale is None else scale[...]

    def _contracted(
        self, hidden: Array, rows: Array, scale: Array | None, *, dtype
    ) -> Float[Array, "*dims L"]:
        if scale is not None:
            return int8_product(hidden, rows, scale, narrow=self.narrow, dtype=dtype)
        return jnp.einsum(
            "...d,ld->...l", hidden, rows.astype(hidden.dtype), preferred_element_type=dtype
        )

    def _settled(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Between layers: a table that is cut along D must not cut all the rest along it."""
        return x if self.layout is None else self.layout.residual(x)
