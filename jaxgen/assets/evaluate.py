"""What the embedded model can do: shares of right answers, loss, continuations.

`train.py` calls `report` after training, on the rounded weights that are shipped; the numbers go
into the model card. Answers are decoded greedily by a plain full-sequence forward, without a cache.
"""

import itertools
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
        `loss` (nats per token), `accuracy` by kind of task (shares in 0..1), `samples`
        ((prompt, continuation) pairs).
    """
    accuracy = {}
    for kind, cases in _cases().items():
        accuracy[kind] = _accuracy(forward, params, cases, tokenizer=tokenizer)
    samples = continuations(forward, params, BUILTIN, tokenizer=tokenizer, new_tokens=80)
    losses = []
    # Batches of one size, so that the mean of their means is the mean over all tokens.
    for batch in np.split(rows, len(rows) // 8):
        batch_loss = loss(forward, params, jnp.asarray(batch))
        losses.append(float(batch_loss))
    return {
        "loss": float(np.mean(losses)),
        "accuracy": accuracy,
        "samples": list(zip(BUILTIN, samples, strict=True)),
    }


def loss(forward: Forward, params: Any, rows: jax.Array) -> jax.Array:
    """Return the mean cross-entropy in nats of rows of tokens (B, T + 1)."""
    inputs, targets = rows[:, :-1], rows[:, 1:]
    logits = forward(params, inputs).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def continuations(
    forward: Forward, params: Any, prompts: Sequence[str], *, tokenizer: Any, new_tokens: int
) -> list[str]:
    """Continue each prompt greedily, to the end of its document or for `new_tokens` tokens."""
    prompt_ids = [tokenizer.encode(prompt) for prompt in prompts]
    lengths = np.array([len(ids) for ids in prompt_ids])
    tokens = _padded(prompt_ids, new_tokens, pad_id=tokenizer.eos_token_id)
    batch_rows = np.arange(len(prompt_ids))

    @jax.jit
    def next_tokens(params: Any, tokens: jax.Array, last: jax.Array) -> jax.Array:
        logits = forward(params, tokens)
        return logits[batch_rows, last].argmax(-1)

    # A row that has ended goes on with the others, so that all keep one shape; `_decode` cuts it.
    for step in range(new_tokens):
        position = lengths + step
        # The logits at a token are about the one behind it.
        tokens[batch_rows, position] = next_tokens(params, tokens, position - 1)
    texts = []
    for row, length in zip(tokens, lengths, strict=True):
        new = row[length : length + new_tokens].tolist()
        text = _decode(new, tokenizer)
        texts.append(text)
    return texts


def _padded(prompt_ids: list[list[int]], new_tokens: int, *, pad_id: int) -> np.ndarray:
    """Return the prompts with room for new tokens behind the longest.

    What stands behind a row's last token is not attended to, so that one shape serves all steps.
    """
    longest = max(len(ids) for ids in prompt_ids)
    shape = (len(prompt_ids), longest + new_tokens)
    tokens = np.full(shape, pad_id, np.int32)
    for row, ids in zip(tokens, prompt_ids, strict=True):
        row[: len(ids)] = ids
    return tokens


def _decode(tokens: list[int], tokenizer: Any) -> str:
    """Return the text of the tokens before the end of the document."""
    end_id = tokenizer.eos_token_id
    if end_id in tokens:
        tokens = tokens[: tokens.index(end_id)]
    return tokenizer.decode(tokens)


def _accuracy(forward: Forward, params: Any, cases: list[Case], *, tokenizer: Any) -> float:
    """Return the share of cases whose continuation begins with the expected text."""
    prompts = [prompt for prompt, _ in cases]
    expected = [text for _, text in cases]
    # No more steps than the longest answer needs: each step is a forward over whole sequences.
    longest = max(len(tokenizer.encode(text)) for text in expected)
    texts = continuations(forward, params, prompts, tokenizer=tokenizer, new_tokens=longest)
    right = 0
    for text, start in zip(texts, expected, strict=True):
        right += text.startswith(start)
    return right / len(cases)


def _cases() -> dict[str, list[Case]]:
    """Return the cases of each kind of task."""
    # Always the same cases, so that the model cards of two trainings can be compared.
    rng = random.Random(HELD_OUT_SEED + 1)
    held_out = sorted(HELD_OUT_SUMS)
    seen = _small_sums()
    large = []
    for _ in range(300):
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        large.append((a, "+", b))
    return {
        "sums, operands 0 to 20": list(itertools.starmap(_sum, seen)),
        "additions of two-digit numbers": list(itertools.starmap(_sum, large)),
        "sums kept out of the training text": list(itertools.starmap(_sum, held_out)),
        "sums in words": [_word_case(rng) for _ in range(100)],
        "grid puzzles, whole answer": [_split(grid(rng), "answer\n") for _ in range(50)],
    }


def _small_sums() -> list[tuple[int, str, int]]:
    """Return the sums of operands 0 to 20 that may occur in the training text."""
    pairs = list(itertools.product(range(21), repeat=2))
    sums = []
    for a, b in pairs:
        if not is_held_out(a, "+", b):
            sums.append((a, "+", b))
    for a, b in pairs:
        # The corpus has no differences below 0.
        if b <= a and not is_held_out(a, "-", b):
            sums.append((a, "-", b))
    return sums


def _sum(a: int, operator: str, b: int) -> Case:
    """Return a sum in digits."""
    result = answer(a, operator, b)
    # The answer ends with its line: else 12 would pass where 1 is right.
    return f"{a} {operator} {b} =", f" {result}\n"


def _word_case(rng: random.Random) -> Case:
    """Return a sum in words."""
    # One sum alone: nobody could guess the numbers of a second one behind it.
    first_line = word_sums(rng).split("\n")[0]
    return _split(first_line, " Now she has ", " Now he has ")


def _split(text: str, *marks: str) -> Case:
    """Split a text behind the first of these marks that it holds."""
    mark = next(mark for mark in marks if mark in text)
    end = text.index(mark) + len(mark)
    # The space before the answer is for the model to write.
    prompt = text[:end].removesuffix(" ")
    return prompt, text[len(prompt) :]
