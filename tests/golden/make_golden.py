"""Makes the golden files: what Hugging Face transformers answers with small random models.

It is the outside judge of jaxgen's models: it shares no code with jaxgen, and the tests only read
what it wrote. Each family gets `<family>/` (a checkpoint as `save_pretrained` writes it) and
`<family>.npz` (prompts, logits, greedy tokens).

Run it in an environment with torch, which jaxgen itself never needs (half a minute, no network):

    python tests/golden/make_golden.py [FAMILY...]
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

HERE = Path(__file__).parent
PROMPT_LENGTHS = (3, 7, 12, 17)  # ragged on purpose: no two alike, none a power of two
NEW_TOKENS = 32
# Between the first and the second logit at every greedy step: rounding must not change a token.
MIN_MARGIN = 1e-2
# Kinds among the 128 greedy tokens: a model stuck on a few would hide a wrong cache.
MIN_DISTINCT = 32
MAX_SEEDS = 100  # about one seed in ten will do

# Odd sizes, so that no two axes can be confused; eps, theta and scaling unlike every usual default
# and large enough to matter at these lengths, so that a hard-coded default shows in the logits.
# Only llama's head is untied.
ROPE_FAMILY = {"num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 2e-3}
GPT2 = transformers.GPT2Config(
    vocab_size=131,
    n_positions=128,
    n_embd=40,
    n_layer=3,
    n_head=4,
    n_inner=92,
    layer_norm_epsilon=1e-3,
    bos_token_id=130,
    eos_token_id=130,
)
LLAMA = transformers.LlamaConfig(
    vocab_size=151,
    hidden_size=40,
    intermediate_size=68,
    num_hidden_layers=4,
    num_attention_heads=4,
    **ROPE_FAMILY,
    # Wavelengths 6.3, 15.8, 39.6, 99.6, 250: the first stays, the second is blended, the others are
    # stretched by 4.
    rope_parameters={
        "rope_type": "llama3",
        "rope_theta": 100.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
)
QWEN2 = transformers.Qwen2Config(
    vocab_size=139,
    hidden_size=48,
    intermediate_size=76,
    num_hidden_layers=3,
    num_attention_heads=6,
    **ROPE_FAMILY,
    tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 300.0},
)
QWEN3 = transformers.Qwen3Config(
    vocab_size=163,
    hidden_size=40,
    intermediate_size=84,
    num_hidden_layers=3,
    num_attention_heads=4,
    head_dim=16,  # not hidden_size / num_attention_heads, as in the published models
    **ROPE_FAMILY,
    tie_word_embeddings=True,
    rope_parameters={"rope_type": "default", "rope_theta": 500.0},
)
MISTRAL = transformers.MistralConfig(
    vocab_size=137,
    hidden_size=40,
    intermediate_size=52,
    num_hidden_layers=3,
    num_attention_heads=4,
    **ROPE_FAMILY,
    tie_word_embeddings=True,
    sliding_window=8,  # longer and shorter prompts than that, and every answer leaves it behind
    rope_parameters={"rope_type": "default", "rope_theta": 400.0},
)
CONFIGS: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "mistral": MISTRAL,
}


@torch.no_grad()
def main() -> None:
    """Write checkpoint and golden outputs beside this file, of the named families or of all."""
    torch.set_num_threads(1)
    for family in sys.argv[1:] or CONFIGS:
        config = CONFIGS[family]
        model, arrays, meta = first_decisive(config)
        model.save_pretrained(HERE / family)
        (HERE / family / "generation_config.json").unlink(
            missing_ok=True
        )  # greedy decoding reads nothing from it
        np.savez_compressed(HERE / f"{family}.npz", meta=np.array(json.dumps(meta)), **arrays)
        print(family, meta)


def first_decisive(
    config: PreTrainedConfig,
) -> tuple[PreTrainedModel, dict[str, np.ndarray], dict[str, object]]:
    """Return model, outputs and meta of the first seed with a varied path free of near-ties."""
    for seed in range(MAX_SEEDS):
        model = random_model(config, seed)
        arrays = golden_outputs(model, seed)
        top = np.sort(
            np.concatenate([v for k, v in arrays.items() if k.startswith("step_logits")]), axis=-1
        )
        margin = float((top[:, -1] - top[:, -2]).min())
        distinct = len(np.unique([v for k, v in arrays.items() if k.startswith("greedy")]))
        if margin > MIN_MARGIN and distinct >= MIN_DISTINCT:
            versions = {"torch": torch.__version__, "transformers": transformers.__version__}
            return (
                model,
                arrays,
                {
                    **versions,
                    "seed": seed,
                    "min_margin": margin,
                    "distinct_greedy_tokens": distinct,
                },
            )
    raise RuntimeError(
        f"{config.model_type}: no seed below {MAX_SEEDS} gives a margin above {MIN_MARGIN}"
    )


def random_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """Build a float32 model with every parameter random.

    Biases and norms are random too, so that a dropped one is noticed.
    """
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    )
    rng = np.random.default_rng(
        [seed, 0]
    )  # NumPy's generator: the weights do not depend on torch's version
    for name, parameter in sorted(model.named_parameters()):
        parameter.copy_(torch.from_numpy(random_weight(rng, name, parameter.shape)))
    return model.eval()


def random_weight(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw one parameter, scaled so that attention is peaked and logits deviate by 1 to 3."""
    noise = rng.standard_normal(shape)
    if len(shape) == 1:  # a bias or a norm's weight
        return 0.2 * noise if name.endswith(".bias") else 1 + 0.3 * noise
    is_table = any(part in name for part in ("wte", "wpe", "embed_tokens", "lm_head"))
    fan_in = (
        shape[0] if name.startswith("transformer.h.") else shape[1]
    )  # GPT-2's Conv1D is (in, out)
    return (2.0 if is_table else 1.5) * noise / np.sqrt(fan_in)


def golden_outputs(model: PreTrainedModel, seed: int) -> dict[str, np.ndarray]:
    """Answer each prompt alone: no padding, no cache, and no stop at EOS.

    Without a cache the whole prefix is run again for each token.
    """
    rng = np.random.default_rng([seed, 1])
    arrays = {}
    for i, length in enumerate(PROMPT_LENGTHS):
        tokens = rng.integers(model.config.vocab_size, size=length)
        arrays[f"prompt_{i}"] = tokens.astype(np.int32)
        arrays[f"logits_{i}"] = logits(model, tokens)
        steps = []
        for _ in range(NEW_TOKENS):
            steps.append(logits(model, tokens)[-1])
            tokens = np.append(tokens, steps[-1].argmax())
        arrays[f"greedy_{i}"] = tokens[length:].astype(np.int32)
        arrays[f"step_logits_{i}"] = np.stack(steps)
    return arrays


def logits(model: PreTrainedModel, tokens: np.ndarray) -> np.ndarray:
    """Run one unpadded sequence, (T,) ids to (T, V) logits."""
    return model(input_ids=torch.from_numpy(tokens)[None], use_cache=False).logits[0].numpy()


if __name__ == "__main__":
    main()
