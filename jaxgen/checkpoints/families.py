"""Reads a Hugging Face config.json into an `Architecture`; the key tables of the same families stand in `keys.py`.

`architectures` decides the family. Both spellings of the file are read: `rope_theta` with `rope_scaling` (before
transformers 5) and `rope_parameters`. What the decoder cannot do is refused by key and value, all of it at once.
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
"""Keys that change what the model computes, with the one value that the decoder does; absent is fine."""


def architecture_of(
    config: Mapping[str, Any], generation: Mapping[str, Any], *, subject: str
) -> Architecture:
    """The architecture that a config.json describes.

    Args:
        config: config.json.
        generation: generation_config.json, empty where there is none; its end-of-text ids go before config.json's.
        subject: what errors call the model.

    Raises:
        UserError: an architecture, feature or value that jaxgen does not have; all of them are named.
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
    eos = _eos(generation.get("eos_token_id"), fields) or _eos(config.get("eos_token_id"), fields)
    if not fields.problems and values["num_heads"] % values["num_kv_heads"]:
        fields.problems.append(
            f"{values['num_heads']} heads are no multiple of {values['num_kv_heads']} kv heads"
        )
    if not fields.problems and values["position"] == "rotary" and values["head_dim"] % 2:
        fields.problems.append(
            f"head_dim={values['head_dim']} is odd, which rotary positions cannot be"
        )
    if fields.problems:
        raise UserError.collected(f"{subject}: config.json", fields.problems)
    return Architecture(family=family, eos_token_ids=eos, **values)


def _family(config: Mapping[str, Any], *, subject: str) -> str:
    named = config.get("architectures")
    names = [named] if isinstance(named, str) else list(named or ())
    for name in names:
        if name in ARCHITECTURES:
            return ARCHITECTURES[name]
    told = f"architectures={short(names)} is not supported" if names else "architectures is missing"
    raise UserError(f"{subject}: config.json: {told}; jaxgen runs {', '.join(ARCHITECTURES)}")


def _gpt2(fields: Fields) -> dict[str, Any]:
    hidden_size, num_heads = fields.size("n_embd"), fields.size("n_head")
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
    """Llama, Mistral, Qwen2 and Qwen3; the defaults are those of the family's own config class in transformers."""
    hidden_size, num_heads = fields.size("hidden_size"), fields.size("num_attention_heads")
    bias = family == "qwen2" or fields.flag("attention_bias", False)
    given_head_dim = 128 if family == "qwen3" else fields.config.get("head_dim")
    theta, scaling = _rope(fields)
    return {
        "vocab_size": fields.size("vocab_size"),
        "hidden_size": hidden_size,
        "num_layers": fields.size("num_hidden_layers"),
        "num_heads": num_heads,
        "num_kv_heads": fields.size("num_key_value_heads", num_heads),
        "head_dim": fields.size("head_dim", 128)
        if given_head_dim
        else fields.per_head(hidden_size, num_heads),
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


def _rope(fields: Fields) -> tuple[float, RopeScaling | None]:
    """`rope_parameters` of transformers 5, else `rope_theta` beside `rope_scaling`."""
    rope = {**fields.mapping("rope_scaling"), **fields.mapping("rope_parameters")}
    theta = fields.number("rope_theta", fields.number("rope_theta", 10000.0), rope)
    kind = rope.get("rope_type", rope.get("type", "default"))
    nested = any(isinstance(value, Mapping) for value in rope.values())
    if nested or kind not in ("default", "llama3"):
        fields.problems.append(
            f"rope_type={short(rope if nested else kind)} is not supported (only default, llama3)"
        )
        return theta, None
    if rope.get("partial_rotary_factor") not in (None, 1.0):
        fields.problems.append(
            f"partial_rotary_factor={rope['partial_rotary_factor']} is not supported (only 1.0)"
        )
    if kind == "default":
        return theta, None
    return theta, RopeScaling(
        factor=fields.number("factor", None, rope),
        low_freq_factor=fields.number("low_freq_factor", None, rope),
        high_freq_factor=fields.number("high_freq_factor", None, rope),
        original_context=int(fields.number("original_max_position_embeddings", None, rope)),
    )


def _eos(value: Any, fields: Fields) -> tuple[int, ...]:
    ids = () if value is None else tuple(value) if isinstance(value, list) else (value,)
    if all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in ids):
        return ids
    fields.problems.append(f"eos_token_id={short(value)} is no token id or list of them")
    return ()
