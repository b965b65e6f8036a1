"""config.json becomes an architecture, or is refused by key and value."""

import pytest

from jaxgen.checkpoints.families import ARCHITECTURES, architecture_of
from jaxgen.checkpoints.keys import TABLES, keys_of
from jaxgen.errors import UserError
from jaxgen.models.structure import structure_of
from jaxgen.specs.architecture import Architecture, RopeScaling
from support import checkpoint_folders

ROTARY = ("llama", "qwen2", "qwen3")
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

FULL, SLIDING = "full_attention", "sliding_attention"
WINDOWED = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}


def read(family: str, generation: dict | None = None, **edits) -> Architecture:
    return architecture_of(
        checkpoint_folders.config(family, **edits), generation or {}, subject="m"
    )


def test_gpt2_is_read_whole():
    assert read("gpt2") == Architecture(
        family="gpt2",
        vocab_size=61,
        hidden_size=12,
        num_layers=2,
        num_heads=3,
        num_kv_heads=3,
        head_dim=4,
        intermediate_size=48,
        context=32,
        norm="layer",
        norm_eps=1e-4,
        position="learned",
        activation="gelu_tanh",
        gated=False,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=True,
        eos_token_ids=(2,),
    )


def test_qwen3_is_read_whole():
    assert read("qwen3") == Architecture(
        family="qwen3",
        vocab_size=61,
        hidden_size=12,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=4,
        intermediate_size=20,
        context=32,
        norm_eps=1e-5,
        rope_theta=500.0,
        qk_norm=True,
        eos_token_ids=(2,),
    )


@pytest.mark.parametrize("family", ROTARY)
@pytest.mark.parametrize("scaling", [None, LLAMA3], ids=["default", "llama3"])
def test_old_and_new_spelling_read_the_same(family, scaling):
    new = read(
        family, rope_parameters={"rope_type": "default", **(scaling or {}), "rope_theta": 700.0}
    )
    old = read(
        family,
        rope_parameters=...,
        rope_theta=700.0,
        rope_scaling=scaling,
        dtype=...,
        torch_dtype="float32",
    )
    assert old == new
    assert new.rope_theta == 700.0
    assert new.rope_scaling == (RopeScaling(4.0, 1.0, 4.0, 16) if scaling else None)


@pytest.mark.parametrize(
    ("family", "edits", "expected"),
    [
        ("llama", {"attention_bias": True}, {"qkv_bias": True, "out_bias": True}),
        ("llama", {"mlp_bias": True}, {"mlp_bias": True}),
        (
            "llama",
            {"num_key_value_heads": ..., "head_dim": ...},
            {"num_kv_heads": 4, "head_dim": 3},
        ),
        (
            "llama",
            {"rope_parameters": ..., "tie_word_embeddings": ...},
            {"rope_theta": 10000.0, "tied": False},
        ),
        ("qwen2", {}, {"qkv_bias": True, "out_bias": False}),
        (
            "qwen2",
            {"layer_types": ["full_attention"] * 2, "sliding_window": 4096},
            {"num_layers": 2},
        ),
        ("qwen3", {"head_dim": ...}, {"head_dim": 128}),
        ("qwen3", {"rope_scaling": {"type": "default"}}, {"rope_scaling": None}),
        ("qwen2", WINDOWED, {"window": 8}),
        ("qwen3", {**WINDOWED, "max_window_layers": 2}, {"window": None}),
        (
            "qwen3",
            {**WINDOWED, "max_window_layers": ...},
            {"window": None},
        ),  # 28 layers see everything
        (
            "qwen2",
            {**WINDOWED, "max_window_layers": 1, "layer_types": [SLIDING] * 2},
            {"window": 8},
        ),
        ("qwen2", {**WINDOWED, "use_sliding_window": False}, {"window": None}),
        ("qwen2", {**WINDOWED, "sliding_window": None}, {"window": None}),
        (
            "llama",
            {"architectures": ["MistralForCausalLM"], "sliding_window": 8},
            {"family": "llama", "window": 8},
        ),
        (
            "llama",
            {"architectures": ["MistralForCausalLM"], "sliding_window": None},
            {"window": None},
        ),
        ("llama", {"architectures": ["MistralForCausalLM"]}, {"window": 4096}),
        ("llama", {"sliding_window": 8}, {"window": None}),  # transformers computes no window here
        ("gpt2", {"n_inner": 20}, {"intermediate_size": 20}),
        ("gpt2", {"activation_function": "gelu"}, {"activation": "gelu"}),
        ("gpt2", {"tie_word_embeddings": False}, {"tied": False}),
        ("gpt2", {"eos_token_id": None}, {"eos_token_ids": ()}),
    ],
)
def test_a_key_decides_its_field(family, edits, expected):
    if edits.get("head_dim") is ... and family == "llama":
        edits = {**edits, "hidden_size": 16}
        expected = {**expected, "head_dim": 4}
    architecture = read(family, **edits)
    assert {name: getattr(architecture, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": [5, 6]}, 2, (5, 6)),
        ({"eos_token_id": 5}, 2, (5,)),
        ({}, [3, 4], (3, 4)),
        ({"eos_token_id": None}, 2, (2,)),
    ],
)
def test_generation_config_names_the_end_before_config(generation, config, expected):
    assert read("llama", generation, eos_token_id=config).eos_token_ids == expected


@pytest.mark.parametrize(
    ("family", "edits", "told"),
    [
        ("llama", {"architectures": ["GemmaForCausalLM"]}, ["GemmaForCausalLM", *ARCHITECTURES]),
        ("llama", {"architectures": ...}, ["architectures is missing", *ARCHITECTURES]),
        (
            "qwen2",
            {"use_sliding_window": True, "max_window_layers": 1},
            ["max_window_layers=1", "2 layers"],
        ),
        (
            "qwen2",
            {"use_sliding_window": True, "layer_types": [FULL, SLIDING]},
            ["layer_types", SLIDING],
        ),
        ("qwen3", {**WINDOWED, "sliding_window": 0}, ["sliding_window=0"]),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, ["sliding_attention"]),
        (
            "llama",
            {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": ...},
            ["rope_type=linear"],
        ),
        (
            "llama",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}},
            ["rope_type=yarn", "llama3"],
        ),
        ("llama", {"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, ["full_attention"]),
        ("llama", {"rope_parameters": {**LLAMA3, "factor": None}}, ["factor is missing"]),
        ("llama", {"partial_rotary_factor": 0.5}, ["partial_rotary_factor=0.5"]),
        (
            "gpt2",
            {"scale_attn_by_inverse_layer_idx": True},
            ["scale_attn_by_inverse_layer_idx=true"],
        ),
        ("gpt2", {"scale_attn_weights": False}, ["scale_attn_weights=false"]),
        ("gpt2", {"add_cross_attention": True}, ["add_cross_attention=true"]),
        (
            "gpt2",
            {"activation_function": "quick_gelu"},
            ["activation_function=quick_gelu", "gelu_new"],
        ),
        ("qwen2", {"hidden_act": "mish"}, ["hidden_act=mish", "silu"]),
        ("llama", {"quantization_config": {"quant_method": "fp8"}}, ["quantization_config", "fp8"]),
        ("llama", {"hidden_size": ...}, ["hidden_size is missing"]),
        ("llama", {"num_hidden_layers": "two"}, ["num_hidden_layers=two"]),
        ("llama", {"num_key_value_heads": 3}, ["4 heads", "3 kv heads"]),
        ("llama", {"head_dim": 5}, ["head_dim=5"]),
        ("gpt2", {"n_head": 5}, ["12", "5 heads"]),
        ("gpt2", {"tie_word_embeddings": "yes"}, ["tie_word_embeddings=yes"]),
        ("gpt2", {"eos_token_id": "end"}, ["eos_token_id=end"]),
        (
            "gpt2",
            {"n_embd": ..., "add_cross_attention": True},
            ["n_embd is missing", "add_cross_attention=true"],
        ),
    ],
)
def test_what_the_decoder_lacks_is_refused_by_name_and_value(family, edits, told):
    with pytest.raises(UserError) as caught:
        read(family, **edits)
    message = str(caught.value)
    assert message.startswith("m: ")
    assert [part for part in told if part not in message] == []


@pytest.mark.parametrize("family", TABLES)
def test_every_parameter_has_a_key_of_its_own(family):
    structure = structure_of(read(family, tie_word_embeddings=False))
    keys = keys_of(structure)
    assert tuple(keys) == structure.names
    assert len(set(keys.values())) == len(keys)
