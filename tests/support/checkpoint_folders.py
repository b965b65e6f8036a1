"""Small Hugging Face folders, written by hand: nothing here reads jaxgen's own tables of names."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LAYERS, HIDDEN, VOCAB = 2, 12, 61
QUERY, KV, INNER, POSITIONS = 16, 8, 20, 32  # 4 query heads and 2 key/value heads of 4

Tensors = dict[str, np.ndarray]

_COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": INNER,
    "max_position_embeddings": POSITIONS,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    "eos_token_id": 2,
    "dtype": "float32",
}
CONFIGS = {
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": VOCAB,
        "n_embd": HIDDEN,
        "n_layer": LAYERS,
        "n_head": 3,
        "n_inner": None,
        "n_positions": POSITIONS,
        "layer_norm_epsilon": 1e-4,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "dtype": "float32",
    },
    "llama": {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **_COMMON,
        "tie_word_embeddings": False,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **_COMMON,
        "use_sliding_window": False,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **_COMMON,
        "attention_bias": False,
    },
}


def config(family: str, **edits) -> dict:
    """A config.json with some keys changed; a key that is given `...` is left out."""
    return {key: value for key, value in {**CONFIGS[family], **edits}.items() if value is not ...}


def tensors(family: str, *, dtype: str = "float32") -> Tensors:
    """Every tensor of the model, seeded, under the names that Hugging Face writes."""
    shapes = _gpt2_shapes() if family == "gpt2" else _rotary_shapes(family)
    rng = np.random.default_rng(7)
    kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    return {
        name: rng.standard_normal(shape, np.float32).astype(kind) for name, shape in shapes.items()
    }


def write(
    folder: Path,
    family: str = "qwen3",
    *,
    edits: dict | None = None,
    weights: Tensors | None = None,
) -> Path:
    """A Hugging Face folder with one safetensors file and no tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(family, **(edits or {}))))
    save_file(
        tensors(family) if weights is None else weights,
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def shard(folder: Path, *, count: int = 3) -> Path:
    """Split a folder's single file into shards with an index, as large models come."""
    from safetensors.numpy import load_file

    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{part + 1:05}-of-{count:05}.safetensors" for part in range(count)]
    weight_map = {name: names[index % count] for index, name in enumerate(whole)}
    for file in names:
        save_file(
            {name: whole[name] for name, there in weight_map.items() if there == file},
            folder / file,
        )
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    return folder


def add_tokenizer(folder: Path) -> Path:
    """A byte-level tokenizer.json with its configuration."""
    tokenizer = _byte_level(["a small text", "another text"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def add_older_tokenizer(folder: Path) -> Path:
    """Only vocab.json and merges.txt, as early GPT-2 folders have them."""
    _byte_level(["a small text", "another text"]).model.save(str(folder))
    return folder


def _byte_level(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _gpt2_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {"wte.weight": (VOCAB, HIDDEN), "wpe.weight": (POSITIONS, HIDDEN)}
    for layer in range(LAYERS):
        for name, inputs, outputs in (
            ("attn.c_attn", HIDDEN, 3 * HIDDEN),
            ("attn.c_proj", HIDDEN, HIDDEN),
            ("mlp.c_fc", HIDDEN, 4 * HIDDEN),
            ("mlp.c_proj", 4 * HIDDEN, HIDDEN),
        ):
            shapes |= {
                f"h.{layer}.{name}.weight": (inputs, outputs),
                f"h.{layer}.{name}.bias": (outputs,),
            }
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{layer}.{name}.weight": (HIDDEN,), f"h.{layer}.{name}.bias": (HIDDEN,)}
    shapes |= {"ln_f.weight": (HIDDEN,), "ln_f.bias": (HIDDEN,)}
    return {f"transformer.{name}": shape for name, shape in shapes.items()}


def _rotary_shapes(family: str) -> dict[str, tuple[int, ...]]:
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for name, inputs, outputs in (
            ("self_attn.q_proj", HIDDEN, QUERY),
            ("self_attn.k_proj", HIDDEN, KV),
            ("self_attn.v_proj", HIDDEN, KV),
            ("self_attn.o_proj", QUERY, HIDDEN),
            ("mlp.gate_proj", HIDDEN, INNER),
            ("mlp.up_proj", HIDDEN, INNER),
            ("mlp.down_proj", INNER, HIDDEN),
        ):
            shapes[f"{prefix}.{name}.weight"] = (outputs, inputs)
            if family == "qwen2" and name[-6] in "qkv":
                shapes[f"{prefix}.{name}.bias"] = (outputs,)
        shapes |= {
            f"{prefix}.{name}.weight": (HIDDEN,)
            for name in ("input_layernorm", "post_attention_layernorm")
        }
        if family == "qwen3":
            shapes |= {f"{prefix}.self_attn.{part}_norm.weight": (4,) for part in "qk"}
    if family == "llama":
        shapes["lm_head.weight"] = (VOCAB, HIDDEN)
    return shapes
