"""The decoder: GPT-2, Llama, Mistral, Qwen2 and Qwen3 are this one module.

They differ in the values of `Architecture` alone.

Kernels are stored (in, out), in int8 as rows (out, in); the embedding and an untied head (V, D),
contracted in place. Layers are unrolled: a `lax.scan` over them halves compile time and costs up to
2.5 times at decode on CPU.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxgen.caches.protocol import Cache
from jaxgen.models.block import Block, Tap
from jaxgen.models.norm import Norm
from jaxgen.models.sharding import Layout
from jaxgen.ops import rope
from jaxgen.ops.int8_product import int8_product
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.dtype import Int8


class Decoder(nnx.Module):
    """Token ids to hidden states, and hidden states to logits.

    Args:
        architecture: what is built.
        int8: which side of each product is quantised; the table of the logits is then int8 with a
            scale for each token, `embedding_scale` where it is the embedding too, else
            `head_scale`.
        rngs: for weights that are made at random; every checkpoint replaces them.

    Example:
        >>> model = Decoder(architecture, rngs=nnx.Rngs(0))
        >>> batch, time = tokens.shape
        >>> hidden, _ = model(tokens, Recompute(batch=batch, visible=time, static_shape=False))
        >>> model.logits(hidden).shape == (batch, time, architecture.vocab_size)
        True
    """

    def __init__(self, architecture: Architecture, *, int8: Int8 = Int8.none, rngs: nnx.Rngs):
        arch = architecture
        table = functools.partial(_random_table, arch.hidden_size, rngs=rngs)
        # The table of the logits is the only one with scales: the embedding's, or an own head's.
        scale = None
        if int8 is not Int8.none:
            scale = nnx.Param(jnp.ones((arch.vocab_size,)))
        self.embedding = table(arch.vocab_size)
        self.embedding_scale = scale if arch.tied else None
        is_learned = arch.position == "learned"
        self.position = table(arch.context) if is_learned else None
        blocks = []
        for _ in range(arch.num_layers):
            blocks.append(Block(arch, int8=int8, rngs=rngs))
        self.blocks = nnx.List(blocks)
        self.norm = Norm(
            arch.hidden_size,
            kind=arch.norm,
            eps=arch.norm_eps,
        )
        self.head = None if arch.tied else table(arch.vocab_size)
        self.head_scale = None if arch.tied else scale
        self.arch = arch
        self.narrow = int8 is Int8.both
        # The structure sets it inside a trace; without one the model is on a single device.
        self.layout: Layout | None = None

    def __call__(
        self, tokens: Int[Array, "B T"], cache: Cache, *, dtype=jnp.float32, tap: Tap | None = None
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """Run the layers over the incoming tokens.

        Args:
            tokens: ids, right-padded.
            cache: says the tokens' positions, keeps their keys and values; its index does not move
                here.
            dtype: of the activations.
            tap: called with each layer's (B, T, D) activations while this is traced, as (site,
                layer, array): what `attention` and `mlp` add, and the `residual` stream after both.

        Returns:
            The normalised last hidden states in `dtype`, and the cache with the tokens written.
        """
        # The cache alone knows how many tokens came before these.
        positions = cache.positions(tokens.shape[1])
        x = self._embed(tokens).astype(dtype)
        rotary = None
        if self.position is not None:
            learned = self.position[...][positions]  # B T D
            x = x + learned.astype(dtype)
        else:
            # One rotation for all layers; the frequencies are a constant of the program.
            freqs = rope.frequencies(
                self.arch.head_dim,
                theta=self.arch.rope_theta,
                scaling=self.arch.rope_scaling,
            )
            rotary = rope.rotation(positions, freqs)
        x = self._constrain_to_mesh(x)
        for layer, block in enumerate(self.blocks):
            x, cache = block(x, layer, cache, rotary, tap)
            x = self._constrain_to_mesh(x)
        hidden = self.norm(x)
        return self._constrain_to_mesh(hidden), cache

    def logits(
        self, hidden: Float[Array, "*dims D"], *, dtype=jnp.float32
    ) -> Float[Array, "*dims V"]:
        """Contract with the (V, D) table in place, accumulating in `dtype`."""
        table, scale = self._head()
        return self._contract(hidden, table, scale, dtype=dtype)

    def label_logits(
        self, hidden: Float[Array, "*dims D"], labels: Int[Array, "L"], *, dtype=jnp.float32
    ) -> Float[Array, "*dims L"]:
        """Return the logits of some token ids alone: only their rows of the table are read."""
        # Gathered before the product: a few rows of the table instead of all of them.
        table, scale = self._head()
        rows = table[labels]
        if scale is not None:
            scale = scale[labels]
        return self._contract(hidden, rows, scale, dtype=dtype)

    def _embed(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        # Gathered as stored and widened afterwards: the tokens' rows alone, never the whole table.
        rows = self.embedding[...][tokens]
        if self.embedding_scale is None:
            return rows
        scales = self.embedding_scale[...][tokens]  # B T
        return rows.astype(jnp.float32) * scales[..., None]

    def _head(self) -> tuple[Array, Array | None]:
        """Return the table of the logits and, in int8, its scales."""
        table, scale = self.head, self.head_scale
        if table is None:
            table, scale = self.embedding, self.embedding_scale
        if scale is None:
            return table[...], None
        return table[...], scale[...]

    def _contract(
        self,
        hidden: Float[Array, "*dims D"],
        rows: Array,
        scale: Float[Array, "L"] | None,
        *,
        dtype,
    ) -> Float[Array, "*dims L"]:
        if scale is not None:
            return int8_product(
                hidden,
                rows,
                scale,
                narrow=self.narrow,
                dtype=dtype,
            )
        return jnp.einsum(
            "...d,ld->...l",
            hidden,
            rows.astype(hidden.dtype),
            preferred_element_type=dtype,
        )

    def _constrain_to_mesh(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Lay activations out by rows: a table cut along D must not cut all the rest along it."""
        if self.layout is None:
            return x
        return self.layout.residual(x)


def hidden_from(
    hidden: Float[Array, "B T D"], starts: Int[Array, "B"], count: int
) -> Float[Array, "B C D"]:
    """Return `count` states of each row from `starts` on; beyond the end the last repeats."""
    last = hidden.shape[1] - 1
    offsets = jnp.arange(count, dtype=jnp.int32)
    offsets = jnp.expand_dims(offsets, 0)  # 1 C
    starts = jnp.expand_dims(starts, 1)  # B 1
    positions = jnp.minimum(starts + offsets, last)  # B C
    positions = jnp.expand_dims(positions, 2)  # B C 1
    return jnp.take_along_axis(hidden, positions, axis=1)


def last_hidden(hidden: Float[Array, "B T D"], lengths: Int[Array, "B"]) -> Float[Array, "B D"]:
    """Return the hidden state of each right-padded row's last token."""
    at_last = (lengths - 1)[:, None, None]
    return jnp.take_along_axis(hidden, at_last, axis=1)[:, 0]


def _random_table(hidden_size: int, rows: int, *, rngs: nnx.Rngs) -> nnx.Param:
    shape = (rows, hidden_size)
    numbers = jax.random.normal(rngs.params(), shape, jnp.float32)
    return nnx.Param(numbers * 0.02)
