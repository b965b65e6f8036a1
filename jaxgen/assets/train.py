"""Trains the embedded model `tiny` on the corpus and writes it to `jaxgen/assets/tiny/` in Hugging Face form.

    python -m jaxgen.assets.train --minutes 35

It runs the project's own forward pass in float32 on the CPU. The schedule follows the share of the budget that is
spent: steps (`--steps`, repeatable) or minutes (`--minutes`, on a machine that is shared). An interrupted training goes
on with `--resume`. `export.py` writes the files, `evaluate.py` measures what goes into the model card.
"""

import argparse
import itertools
import math
import sys
import tempfile
import time
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from transformers import AutoTokenizer

from jaxgen.assets import evaluate, export
from jaxgen.assets.corpus import HELD_OUT_SEED, documents
from jaxgen.assets.tokenizer import TINY
from jaxgen.models.structure import Leaves, structure_of

_SAVED = Path(tempfile.gettempdir()) / "jaxgen-tiny-training.npz"
_CHUNK = 2_000
"""Documents tokenized at once."""


@dataclass(frozen=True)
class Recipe:
    """How the model is trained.

    Attributes:
        warmup: share of the budget.
        rows: (rows, tokens each) of a step; small, because on so few tokens many steps learn more than large ones.
        final_rows: the same for the last `final_share` of the budget: long, so that the whole context is learnt.
    """

    peak_learning_rate: float = 2e-3
    warmup: float = 0.03
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    rows: tuple[int, int] = (4, 128)
    final_rows: tuple[int, int] = (2, 512)
    final_share: float = 0.15

    def learning_rate(self, progress: float) -> float:
        """Linear warm-up, then a cosine down to 1 % of the peak; `progress` is the share of the budget spent."""
        if progress < self.warmup:
            return self.peak_learning_rate * max(progress, 1e-4) / self.warmup
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.peak_learning_rate * (
            0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))
        )

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW without its learning rate, which `update` takes as a traced number; only matrices decay."""
        return optax.chain(
            optax.clip_by_global_norm(self.max_grad_norm),
            optax.scale_by_adam(b1=0.9, b2=0.95),
            optax.add_decayed_weights(
                self.weight_decay, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
            ),
        )


@dataclass(frozen=True)
class Budget:
    """When training ends: after so many steps or minutes, whichever is given."""

    steps: int | None
    minutes: float | None

    def progress(self, step: int, elapsed_s: float) -> float:
        """The share that is spent; 1 or more means the end."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = elapsed_s / (60 * self.minutes) if self.minutes else 0.0
        return max(by_steps, by_time)


class State(NamedTuple):
    """Where the training stands; the leaves are the model's weights, in the order of its `Structure`."""

    leaves: Leaves
    moments: optax.OptState
    step: np.int64
    tokens: np.int64
    spent_s: np.float64


def main() -> None:
    """Train, measure, and write the model's folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, help="stop after this many steps")
    parser.add_argument(
        "--minutes", type=float, help="stop after this many minutes (35 if no steps are given)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first weights and of the text, 0 to 99"
    )
    parser.add_argument("--resume", action="store_true", help=f"go on from {_SAVED}")
    parser.add_argument("--output", type=Path, default=TINY, help="the folder to write")
    options = parser.parse_args()
    if options.steps is None and options.minutes is None:
        options.minutes = 35.0
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    structure = structure_of(export.tiny(len(tokenizer), tokenizer.eos_token_id))
    forward = export.forward(structure)
    leaves = export.initial(structure.architecture, options.seed)
    state = State(
        leaves, Recipe().optimizer().init(leaves), np.int64(0), np.int64(0), np.float64(0)
    )
    state = _restored(state) if options.resume else state
    state = _train(
        forward,
        state,
        budget=Budget(options.steps, options.minutes),
        tokenizer=tokenizer,
        seed=options.seed,
    )
    shipped = export.rounded(state.leaves)
    held_out = np.stack(list(itertools.islice(packed(tokenizer, HELD_OUT_SEED, 256), 64)))
    report = evaluate.report(forward, shipped, tokenizer=tokenizer, rows=held_out) | {
        "seed": options.seed
    }
    report |= {"steps": int(state.step), "tokens": int(state.tokens)}
    export.write(
        options.output, structure, shipped, report=report | {"minutes": float(state.spent_s) / 60}
    )
    _log(f"held-out loss {report['loss']:.4f} {report['accuracy']}")


def packed(tokenizer: Any, seed: int, length: int) -> Iterator[np.ndarray]:
    """Endless rows of `length + 1` token ids; each opens with a document, and `<|endoftext|>` follows each document."""
    row: list[int] = []
    for chunk in itertools.count(seed):
        encoded = tokenizer(list(documents(chunk, _CHUNK)))["input_ids"]
        for document in encoded:
            row += [*document, tokenizer.eos_token_id]
            if len(row) > length:
                yield np.array(row[: length + 1], np.int32)
                row = []


def _train(
    forward: evaluate.Forward, state: State, *, budget: Budget, tokenizer: Any, seed: int
) -> State:
    """Run steps until the budget is spent."""
    recipe = Recipe()
    leaves, moments, step, tokens = state.leaves, state.moments, int(state.step), int(state.tokens)
    start = time.monotonic() - float(state.spent_s)
    update = _update(forward, recipe)
    shapes = (recipe.rows, recipe.final_rows)
    text = {
        length: packed(tokenizer, 10_000 * seed + length + step, length) for _, length in shapes
    }
    while (progress := budget.progress(step, time.monotonic() - start)) < 1:
        count, length = shapes[progress >= 1 - recipe.final_share]
        batch = np.stack(list(itertools.islice(text[length], count)))
        leaves, moments, loss = update(leaves, moments, batch, recipe.learning_rate(progress))
        step, tokens = step + 1, tokens + count * length
        if step % 50 == 0:
            _log(
                f"step {step} {100 * progress:.1f} % loss {float(loss):.4f} {time.monotonic() - start:.0f} s"
            )
        if step % 300 == 0:
            _save(
                State(
                    leaves,
                    moments,
                    np.int64(step),
                    np.int64(tokens),
                    np.float64(time.monotonic() - start),
                )
            )
    leaves, moments = jax.block_until_ready((leaves, moments))
    state = State(
        leaves, moments, np.int64(step), np.int64(tokens), np.float64(time.monotonic() - start)
    )
    _save(state)
    return state


def _update(forward: evaluate.Forward, recipe: Recipe) -> Any:
    """One optimiser step, jitted: weights and moments donated, everything traced, one compile per row length."""
    optimizer = recipe.optimizer()

    def update(
        params: Leaves, moments: optax.OptState, rows: jax.Array, learning_rate: jax.Array
    ) -> tuple[Leaves, optax.OptState, jax.Array]:
        loss, grads = jax.value_and_grad(lambda weights: evaluate.loss(forward, weights, rows))(
            params
        )
        changes, moments = optimizer.update(grads, moments, params)
        changes = jax.tree.map(lambda change: -learning_rate * change, changes)
        return typing.cast(Leaves, optax.apply_updates(params, changes)), moments, loss

    return jax.jit(update, donate_argnums=(0, 1))


def _save(state: State) -> None:
    written = _SAVED.with_suffix(".part.npz")
    np.savez(written, *[np.asarray(leaf) for leaf in jax.tree.leaves(state)])
    written.replace(_SAVED)


def _restored(state: State) -> State:
    with np.load(_SAVED) as saved:
        leaves = [saved[f"arr_{index}"] for index in range(len(saved.files))]
    return jax.tree.unflatten(jax.tree.structure(state), leaves)


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
