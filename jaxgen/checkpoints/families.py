"""Reads a Hugging Face config.json into an `Architecture`; `keys.py` has the families' key tables.

`architectures` decides the family. Both spellings of the file are read: `rope_theta` with
`rope_scaling` (before transformers 5) and `rope_parameters`. What the decoder cannot do is refused
by key and value, all of it at once.
"""

from collections.abc import Mapping
from typing import Any

from jaxgen.checkpoints.fields import Fields, short
from jaxgen.checkpoints.windows import window_of
from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture, RopeScaling

ARCHITECTURES = {
    "GPT2LMHeadModel": "gpt2",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",  # the same tensors; windowed where config.json does not say null
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}

_REQUIRED_VALUES = {
    "quantization_config": None,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "partial_rotary_factor": 1.0,
}
"""Keys that change what the model computes, with the one value that jaxgen has; absent is fine."""


def architecture_of(
    config: Mapping[str, Any], generation: Mapping[str, Any], *, subject: str
) -> Architecture:
    """Return the architecture that a config.json describes.

    Args:
        config: config.json.
        generation: generation_config.json, empty where there is none; its end-of-text ids go before
            config.json's.
        subject: what errors call the model.

    Raises:
        UserError: architectures, features or values that jaxgen does not have; all are named.
    """
    fields = Fields(config)
    family = _family(config, subject=subject)
    for key, required in _REQUIRED_VALUES.items():
        value = config.get(key)
        if value is not None and value != required:
            fields.problems.append(
                f"{key}={short(value)} is not supported (only {short(required)})"
            )
    values = _gpt2(fields) if family == "gpt2" else _rotary(fields, family=family)
    values["window"] = window_of(fields, family=family)
    # Without an id in either file a text ends by its length alone.
    eos = _eos(generation.get("eos_token_id"), fields)
    if not eos:
        eos = _eos(config.get("eos_token_id"), fields)
    # Values that did not read say nothing about each other.
    if not fields.problems:
        _check_heads(fields, values)
    if fields.problems:
        raise UserError.collected(f"{subject}: config.json", fields.problems)
    return Architecture(family=family, eos_token_ids=eos, **values)


def _check_heads(fields: Fields, values: dict[str, Any]) -> None:
    heads, kv_heads = values["num_heads"], values["num_kv_heads"]
    head_dim = values["head_dim"]
    if heads % kv_heads:
        fields.problems.append(f"{heads} heads are no multiple of {kv_heads} kv heads")
    elif values["position"] == "rotary" and head_dim % 2:
        fields.problems.append(f"head_dim={head_dim} is odd, which rotary positions cannot be")


def _family(config: Mapping[str, Any], *, subject: str) -> str:
    named = config.get("architectures")
    names = [named] if isinstance(named, str) else list(named or ())
    for name in names:
        if name in ARCHITECTURES:
            return ARCHITECTURES[name]
    # Raised alone and at once: without a family no other key can be judged.
    problem = "architectures is missing"
    if names:
        problem = f"architectures={short(names)} is not supported"
    supported = ", ".join(ARCHITECTURES)
    raise UserError(f"{subject}: config.json: {problem}; jaxgen runs {supported}")


def _gpt2(fields: Fields) -> dict[str, Any]:
    hidden_size = fields.size("n_embd")
    num_heads = fields.size("n_head")
    return {
        "vocab_size": fields.size("vocab_size"),
        "hidden_size": hidden_size,
        "num_layers": fields.size("n_layer"),
        "num_heads": num_heads,
        "num_kv_heads": num_heads,
        "head_dim": fields.per_head(hidden_size, num_heads),
        "intermediate_size": fields.size("n_inner", 4 * hidden_size),
        "context": fields.size("n_positions"),
        "norm": "layer",
        "norm_eps": fields.number("layer_norm_epsilon", 1e-5),
        "position": "learned",
        "activation": fields.activation("activation_function", "gelu_new"),
        "gated": False,
        "qkv_bias": True,
        "out_bias": True,
        "mlp_bias": True,
        "tied": fields.flag("tie_word_embeddings", True),
    }


def _rotary(fields: Fields, *, family: str) -> dict[str, Any]:
    """Read Llama, Mistral, Qwen2 or Qwen3.

    The defaults are those of the family's own config class in transformers.
    """
    hidden_size = fields.size("hidden_size")
    num_heads = fields.size("num_attention_heads")
    # Qwen2 has biases on q, k and v whatever its file says; the others on all four or on none.
    bias = family == "qwen2" or fields.flag("attention_bias", False)
    theta, scaling = _rope(fields)
    return {
        "vocab_size": fields.size("vocab_size"),
        "hidden_size": hidden_size,
        "num_layers": fields.size("num_hidden_layers"),
        "num_heads": num_heads,
        "num_kv_heads": fields.size("num_key_value_heads", num_heads),
        "head_dim": _head_dim(fields, family, hidden_size, num_heads),
        "intermediate_size": fields.size("intermediate_size"),
        "context": fields.size("max_position_embeddings"),
        "norm_eps": fields.number("rms_norm_eps", 1e-6),
        "position": "rotary",
        "rope_theta": theta,
        "rope_scaling": scaling,
        "activation": fields.activation("hidden_act", "silu"),
        "qkv_bias": bias,
        "out_bias": bias and family != "qwen2",
        "mlp_bias": family == "llama" and fields.flag("mlp_bias", False),
        "qk_norm": family == "qwen3",
        "tied": fields.flag("tie_word_embeddings", False),
    }


def _head_dim(fields: Fields, family: str, hidden_size: int, num_heads: int) -> int:
    # Qwen3's own default is 128 whatever the hidden size; for the others the heads divide it.
    if family == "qwen3" or fields.config.get("head_dim"):
        return fields.size("head_dim", 128)
    return fields.per_head(hidden_size, num_heads)


def _rope(fields: Fields) -> tuple[float, RopeScaling | None]:
    """Read `rope_parameters` of transformers 5, else `rope_theta` beside `rope_scaling`."""
    # Where a file has both spellings the newer one counts, and a theta inside it goes before one
    # outside.
    rope = {**fields.mapping("rope_scaling"), **fields.mapping("rope_parameters")}
    outer_theta = fields.number("rope_theta", 10000.0)
    theta = fields.number("rope_theta", outer_theta, rope)
    kind = rope.get("rope_type", rope.get("type", "default"))
    # Objects inside are rotations of their own for some layers.
    nested = any(isinstance(value, Mapping) for value in rope.values())
    if nested or kind not in ("default", "llama3"):
        value = short(rope if nested else kind)
        fields.problems.append(f"rope_type={value} is not supported (only default, llama3)")
        return theta, None
    partial = rope.get("partial_rotary_factor")
    if partial not in (None, 1.0):
        fields.problems.append(f"partial_rotary_factor={partial} is not supported (only 1.0)")
    if kind == "default":
        return theta, None
    return theta, RopeScaling(
        factor=fields.number("factor", None, rope),
        low_freq_factor=fields.number("low_freq_factor", None, rope),
        high_freq_factor=fields.number("high_freq_factor", None, rope),
        original_context=int(fields.number("original_max_position_embeddings", None, rope)),
    )


def _eos(value: Any, fields: Fields) -> tuple[int, ...]:
    if value is None:
        return ()
    ids = tuple(value) if isinstance(value, list) else (value,)
    if all(_is_token_id(token) for token in ids):
        return ids
    fields.problems.append(f"eos_token_id={short(value)} is no token id or list of them")
    return ()


def _is_token_id(value: Any) -> bool:
    # JSON's true is an int to Python.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
