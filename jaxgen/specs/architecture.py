"""The shape of a decoder-only transformer, whatever family it comes from.

It is read from a Hugging Face config.json.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretching of the rotary frequencies (Hugging Face `rope_type: llama3`).

    Attributes:
        factor: how much the lowest frequencies are slowed down.
        low_freq_factor: wavelengths above `original_context / low_freq_factor` are fully slowed.
        high_freq_factor: wavelengths below `original_context / high_freq_factor` are left alone.
        original_context: the context in tokens that the frequencies were trained for.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One decoder: the four families differ in these values only.

    Attributes:
        family: gpt2, llama (Mistral too), qwen2 or qwen3; names the key table of the checkpoint.
        vocab_size: rows of the embedding table.
        hidden_size: width of the residual stream.
        num_layers: decoder blocks.
        num_heads: query heads.
        num_kv_heads: heads of keys and values; query heads share them in equal groups.
        head_dim: width of one head.
        intermediate_size: width inside the MLP.
        context: the most positions the model was made for, in tokens.
        norm: `layer` (centred, with bias) or `rms`.
        norm_eps: added to the variance before its root is taken.
        position: `learned` (a table added to the embeddings) or `rotary`.
        rope_theta: base of the rotary frequencies.
        rope_scaling: how the rotary frequencies are stretched; null leaves them.
        activation: gelu, gelu_tanh, silu or relu.
        gated: the MLP is `down(act(gate(x)) * up(x))` instead of `down(act(up(x)))`.
        qkv_bias: the projections of queries, keys and values have biases.
        out_bias: the projection behind attention has a bias.
        mlp_bias: the projections of the MLP have biases.
        qk_norm: queries and keys pass an RMS norm over the head dimension before the rotation.
        tied: the head is the embedding table.
        window: each token sees so many positions, its own and those just before, in every layer;
            null sees all.
        eos_token_ids: ids that end a text.
    """

    family: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    context: int
    # The defaults are in the main those of the Llama-like families; GPT-2 differs in most of them.
    norm: str = "rms"
    norm_eps: float = 1e-6
    position: str = "rotary"
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    activation: str = "silu"
    gated: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    tied: bool = True
    window: int | None = None
    eos_token_ids: tuple[int, ...] = ()

    def __post_init__(self):
        # JSON and YAML have lists and dictionaries where a hashable spec has tuples and specs.
        object.__setattr__(self, "eos_token_ids", tuple(self.eos_token_ids))
        if isinstance(self.rope_scaling, dict):
            scaling = RopeScaling(**self.rope_scaling)
            object.__setattr__(self, "rope_scaling", scaling)

    def to_plain(self) -> dict:
        """Return the architecture as JSON values; `Architecture(**plain)` reads them back."""
        return dataclasses.asdict(self)
