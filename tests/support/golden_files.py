"""Read the files in `tests/golden/`: what Hugging Face transformers answered (see its README)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FAMILIES: tuple[str, ...] = ("gpt2", "llama", "qwen2", "qwen3")
WINDOWED = "mistral"  # llama's tensors, and a window of 8; prompts and answers only, no scores
_ROOT = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Golden:
    """One family's checkpoint and the reference's answers; entry i of a list belongs to prompt i.

    Attributes:
        folder: the Hugging Face checkpoint (config.json, model.safetensors; no tokenizer).
        prompts: token ids, each (T,) int32, with a T of its own.
        logits: at every position of the prompt, each (T, V) float32.
        greedy: the new tokens, each (32,) int32; EOS was ignored.
        step_logits: what each greedy token is the argmax of, each (32, V) float32.
    """

    folder: Path
    prompts: list[np.ndarray]
    logits: list[np.ndarray]
    greedy: list[np.ndarray]
    step_logits: list[np.ndarray]


def load(family: str) -> Golden:
    """Load one of `FAMILIES`, or `WINDOWED`.

    `load("llama").greedy[0]` is what the reference answers to `prompts[0]`.
    """
    with np.load(_ROOT / f"{family}.npz") as file:
        arrays = dict(file)
    count = sum(name.startswith("prompt_") for name in arrays)
    prompts, logits, greedy, step_logits = (
        [arrays[f"{kind}_{i}"] for i in range(count)]
        for kind in ("prompt", "logits", "greedy", "step_logits")
    )
    return Golden(_ROOT / family, prompts, logits, greedy, step_logits)


def load_scores(family: str) -> dict:
    """Load one family's request and the reference's scores, from `make_golden_scores.py`."""
    return json.loads((_ROOT / "scores.json").read_text(encoding="utf-8"))[family]
