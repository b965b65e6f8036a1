"""The embedded model's shape, its forward pass in training, and its Hugging Face folder.

`train.py` starts from `tiny` and ends with `write`: `config.json`, `model.safetensors` (bfloat16,
Hugging Face names, matrices (out, in)) and the model card `README.md`, beside the tokenizer that
`tokenizer.py` wrote.
"""

import re
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from flax import nnx
from safetensors.numpy import save_file
from transformers import Qwen3Config

from jaxgen.assets.evaluate import Forward
from jaxgen.caches.none import Recompute
from jaxgen.models.decoder import Decoder
from jaxgen.models.structure import Leaves, Structure, structure_of
from jaxgen.specs.architecture import Architecture

_NAMES = (
    (r"embedding", "model.embed_tokens.weight"),
    (r"norm\.scale", "model.norm.weight"),
    (r"blocks\.(\d+)\.attention_norm\.scale", r"model.layers.\1.input_layernorm.weight"),
    (r"blocks\.(\d+)\.mlp_norm\.scale", r"model.layers.\1.post_attention_layernorm.weight"),
    (r"blocks\.(\d+)\.attention\.([qk])_norm\.scale", r"model.layers.\1.self_attn.\2_norm.weight"),
    (r"blocks\.(\d+)\.attention\.([qkvo])\.kernel", r"model.layers.\1.self_attn.\2_proj.weight"),
    (r"blocks\.(\d+)\.mlp\.(gate|up|down)\.kernel", r"model.layers.\1.mlp.\2_proj.weight"),
)


def tiny(vocab_size: int, eos_token_id: int) -> Architecture:
    """The embedded model's architecture: Qwen3, 2.6 million parameters at 1,024 tokens."""
    return Architecture(
        family="qwen3",
        vocab_size=vocab_size,
        hidden_size=192,
        num_layers=6,
        num_heads=6,
        num_kv_heads=2,
        head_dim=32,
        intermediate_size=512,
        # As long as the longest rows of training (`Recipe.final_rows`): no position is untrained.
        context=512,
        qk_norm=True,
        eos_token_ids=(eos_token_id,),
    )


def initial(architecture: Architecture, seed: int) -> Leaves:
    """Return seeded first weights.

    What adds to the residual stream starts smaller, by the root of the number of additions (GPT-2).
    """
    structure = structure_of(architecture)
    model = Decoder(architecture, rngs=nnx.Rngs(seed))
    _, state = nnx.split(model)
    shrink = (2 * architecture.num_layers) ** -0.5
    leaves = []
    for name, leaf in zip(structure.names, jax.tree.leaves(state), strict=True):
        adds = name.endswith(("attention.o.kernel", "mlp.down.kernel"))
        # Six layers add twelve times, by attention and by the MLP: the factor is 0.29.
        leaves.append(leaf * shrink if adds else leaf)
    return tuple(leaves)


def forward(structure: Structure) -> Forward:
    """Return the project's own forward over whole sequences, without a KV cache."""

    def logits(leaves: Leaves, tokens: jax.Array) -> jax.Array:
        batch, time = tokens.shape
        model = structure.model(leaves)
        hidden, _ = model(tokens, Recompute(batch=batch, visible=time, static_shape=True))
        return model.logits(hidden)

    return logits


def rounded(leaves: Leaves) -> Leaves:
    """Return the weights as they are shipped: rounded to bfloat16, held in float32."""
    return jax.tree.map(lambda leaf: leaf.astype("bfloat16").astype("float32"), leaves)


def write(folder: Path, structure: Structure, leaves: Leaves, *, report: dict[str, Any]) -> None:
    """Write config, weights and model card.

    Args:
        folder: where to.
        structure: of the model.
        leaves: its weights.
        report: what `evaluate.report` returned, with `steps`, `tokens`, `minutes` and `seed`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arch = structure.architecture
    Qwen3Config(
        architectures=["Qwen3ForCausalLM"],
        vocab_size=arch.vocab_size,
        hidden_size=arch.hidden_size,
        num_hidden_layers=arch.num_layers,
        num_attention_heads=arch.num_heads,
        num_key_value_heads=arch.num_kv_heads,
        head_dim=arch.head_dim,
        intermediate_size=arch.intermediate_size,
        max_position_embeddings=arch.context,
        rms_norm_eps=arch.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": arch.rope_theta},
        tie_word_embeddings=arch.tied,
        eos_token_id=arch.eos_token_ids[0],
        pad_token_id=arch.eos_token_ids[0],
        dtype="bfloat16",
    ).save_pretrained(folder)
    tensors = {}
    for name, leaf in zip(structure.names, leaves, strict=True):
        # Exact, since `rounded` comes before: the model card is about the numbers in this file.
        array = np.asarray(leaf).astype(ml_dtypes.bfloat16)
        # Hugging Face keeps linear weights as (outputs, inputs).
        if name.endswith("kernel"):
            array = array.T
        tensors[_hugging_face_name(name)] = np.ascontiguousarray(array)
    # Without a format in its metadata, transformers refuses the file.
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    parameters = sum(leaf.size for leaf in leaves)
    card = _card(arch, parameters, report)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _hugging_face_name(name: str) -> str:
    """Return the name that Hugging Face's Qwen3 has for a weight."""
    for pattern, replacement in _NAMES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    # Without the error the weight would be missing in the file, and nobody would be told.
    raise KeyError(name)


def _card(arch: Architecture, parameters: int, report: dict[str, Any]) -> str:
    """Return the model card."""
    accuracy = "\n".join(
        f"| {kind} | {100 * share:.1f} % |" for kind, share in report["accuracy"].items()
    )
    samples = "\n\n".join(
        f"```text\n{prompt}\u2039\u203a{text}\n```" for prompt, text in report["samples"]
    )
    heads = f"{arch.num_heads} heads, {arch.num_kv_heads} kv heads"
    return f"""# tiny: the model inside jaxgen

A Qwen3-architecture language model of {parameters / 1e6:.1f} million parameters
({arch.num_layers} layers, hidden size {arch.hidden_size}, {heads}, {arch.vocab_size} tokens,
context {arch.context}), so that a benchmark runs at once, offline, and its output can be read. It
tells short stories, adds, subtracts and solves small grid puzzles, in the forms of its training
text. It knows no facts and follows no instructions.

**Data.** Text of our own, made by `jaxgen/assets/corpus.py` from a seed: about 45 % stories from
sentence templates, 35 % sums (lines and words), 20 % grid puzzles, by tokens. No document holds a
built-in prompt or one of the sums in `HELD_OUT_SUMS`.

**Training.** `python -m jaxgen.assets.train`: {report["steps"]:,} steps,
{report["tokens"] / 1e6:.1f} million tokens, seed {report["seed"]}, {report["minutes"]:.0f} minutes
on 2 CPU cores, float32, AdamW; then the weights were rounded to bfloat16. What follows was measured
after the rounding.

**Loss** on text from other seeds: {report["loss"]:.3f} nats per token. What is left is mostly
chance in the text itself: which name, which numbers, which cells.

| greedy answers that are right | |
| --- | --- |
{accuracy}

Greedy continuations of the built-in prompts (a continuation begins at \u2039\u203a):

{samples}
"""
