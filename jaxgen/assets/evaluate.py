"""What the embedded model can do: the shares of sums and puzzles answered right, its loss, its continuations.

`train.py` calls `report` after training, on the rounded weights that are shipped; the numbers go into the model card.
Answers are decoded greedily by a plain full-sequence forward, without a cache.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen.assets.corpus import HELD_OUT_SEED, HELD_OUT_SUMS, answer, grid, is_held_out, word_sums
from jaxgen.specs.builtin_prompts import BUILTIN

Forward = Callable[[Any, jax.Array], jax.Array]
"""(params, tokens (B, T)) -> logits (B, T, V)."""
Case = tuple[str, str]
"""(prompt, the text that must follow it)."""


def report(forward: Forward, params: Any, *, tokenizer: Any, rows: np.ndarray) -> dict[str, Any]:
    """Measure the model on text that training never saw.

    Args:
        forward: the model's full-sequence forward.
        params: its weights.
        tokenizer: a Hugging Face tokenizer.
        rows: packed held-out token rows (N, T + 1).

    Returns:
        `loss` (nats per token), `accuracy` by kind of task (shares in 0..1), `samples` ((prompt, continuation) pairs).
    """
    accuracy = {}
    for kind, cases in _cases().items():
        longest = max(len(tokenizer.encode(expected)) for _, expected in cases)
        texts = continuations(
            forward, params, [case[0] for case in cases], tokenizer=tokenizer, new_tokens=longest
        )
        right = [text.startswith(case[1]) for text, case in zip(texts, cases, strict=True)]
        accuracy[kind] = sum(right) / len(right)
    samples = continuations(forward, params, BUILTIN, tokenizer=tokenizer, new_tokens=80)
    losses = [
        float(loss(forward, params, jnp.asarray(batch))) for batch in np.split(rows, len(rows) // 8)
    ]
    return {
        "loss": float(np.mean(losses)),
        "accuracy": accuracy,
        "samples": list(zip(BUILTIN, samples, strict=True)),
    }


def loss(forward: Forward, params: Any, rows: jax.Array) -> jax.Array:
    """Mean cross-entropy in nats of each row's tokens (B, T + 1) given those before them."""
    logits = forward(params, rows[:, :-1]).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, rows[:, 1:]).mean()


def continuations(
    forward: Forward, params: Any, prompts: Sequence[str], *, tokenizer: Any, new_tokens: int
) -> list[str]:
    """Continue each prompt greedily, to the end of its document or for `new_tokens` tokens."""
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    ends = np.array([len(tokens) for tokens in ids])
    end_id = tokenizer.eos_token_id
    tokens = np.full((len(ids), int(ends.max()) + new_tokens), end_id, np.int32)
    for row, prompt_ids in zip(tokens, ids, strict=True):
        row[: len(prompt_ids)] = prompt_ids
    lines = np.arange(len(ids))
    choose = jax.jit(
        lambda params, tokens, last: forward(params, tokens)[jnp.arange(len(ids)), last].argmax(-1)
    )
    for step in range(new_tokens):
        tokens[lines, ends + step] = choose(params, tokens, ends + step - 1)
    produced = [
        row[start : start + new_tokens].tolist() for row, start in zip(tokens, ends, strict=True)
    ]
    return [
        tokenizer.decode(new[: new.index(end_id)] if end_id in new else new) for new in produced
    ]


def _cases() -> dict[str, list[Case]]:
    rng = random.Random(HELD_OUT_SEED + 1)
    small = [(a, "+", b) for a in range(21) for b in range(21)]
    small += [(a, "-", b) for a in range(21) for b in range(a + 1)]
    large = [(rng.randint(10, 99), "+", rng.randint(10, 99)) for _ in range(300)]
    return {
        "sums, operands 0 to 20": [_sum(*item) for item in small if not is_held_out(*item)],
        "additions of two-digit numbers": [_sum(*item) for item in large],
        "sums kept out of the training text": [_sum(*item) for item in sorted(HELD_OUT_SUMS)],
        "sums in words": [
            _split(word_sums(rng).split("\n")[0], " Now she has ", " Now he has ")
            for _ in range(100)
        ],
        "grid puzzles, whole answer": [_split(grid(rng), "answer\n") for _ in range(50)],
    }


def _sum(a: int, operator: str, b: int) -> Case:
    return f"{a} {operator} {b} =", f" {answer(a, operator, b)}\n"


def _split(text: str, *marks: str) -> Case:
    mark = next(mark for mark in marks if mark in text)
    prompt = text[: text.index(mark) + len(mark)].removesuffix(" ")
    return prompt, text[len(prompt) :]
