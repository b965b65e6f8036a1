"""Trains the embedded model `tiny` on the corpus and writes it in Hugging Face form.

    python -m jaxgen.assets.train --minutes 35

It runs the project's own forward pass in float32 on the CPU. The schedule follows the share of the
budget that is spent: steps (`--steps`, repeatable) or minutes (`--minutes`, on a machine that is
shared). An interrupted training continues with `--resume`. `export.py` writes the files to
`jaxgen/assets/tiny/`; `evaluate.py` measures what goes into the model card.
"""

import argparse
import sys
import tempfile
import time
import typing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from transformers import AutoTokenizer

from jaxgen.assets import evaluate, export
from jaxgen.assets.corpus import HELD_OUT_SEED
from jaxgen.assets.packing import packed, take, training_rows
from jaxgen.assets.recipe import Budget, Recipe
from jaxgen.assets.tokenizer import TINY
from jaxgen.models.structure import Leaves, structure_of

# Weights and two moments in float32 are some 31 MB, which do not belong into the package.
_SAVED = Path(tempfile.gettempdir()) / "jaxgen-tiny-training.npz"


class State(NamedTuple):
    """How far the training is; the leaves are the weights in the order of the `Structure`."""

    leaves: Leaves
    moments: optax.OptState
    step: np.int64
    tokens: np.int64
    spent_s: np.float64


def main() -> None:
    """Train, measure, and write the model's folder."""
    options = _options()
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    architecture = export.tiny(len(tokenizer), tokenizer.eos_token_id)
    structure = structure_of(architecture)
    forward = export.forward(structure)
    leaves = export.initial(architecture, options.seed)
    moments = Recipe().optimizer().init(leaves)
    state = State(
        leaves,
        moments,
        step=np.int64(0),
        tokens=np.int64(0),
        spent_s=np.float64(0),
    )
    if options.resume:
        state = _restored(state)
    budget = Budget(options.steps, options.minutes)
    state = _train(
        forward,
        state,
        budget=budget,
        tokenizer=tokenizer,
        seed=options.seed,
    )
    # What is measured is what is shipped.
    shipped = export.rounded(state.leaves)
    report = _report(forward, shipped, state, tokenizer=tokenizer)
    report["seed"] = options.seed
    export.write(options.output, structure, shipped, report=report)
    loss, accuracy = report["loss"], report["accuracy"]
    _log(f"held-out loss {loss:.4f} {accuracy}")


def _report(
    forward: evaluate.Forward, shipped: Leaves, state: State, *, tokenizer: Any
) -> dict[str, Any]:
    """Measure the shipped weights on held-out text; add how much training they had."""
    rows = packed(tokenizer, HELD_OUT_SEED, 256)
    held_out = take(rows, 64)
    report = evaluate.report(forward, shipped, tokenizer=tokenizer, rows=held_out)
    report["steps"] = int(state.step)
    report["tokens"] = int(state.tokens)
    report["minutes"] = float(state.spent_s) / 60
    return report


def _options() -> argparse.Namespace:
    """Read the command line."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--steps",
        type=int,
        help="stop after this many steps",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="stop after this many minutes (35 if no steps are given)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the first weights and of the text, 0 to 99",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help=f"go on from {_SAVED}",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=TINY,
        help="the folder to write",
    )
    options = parser.parse_args()
    if options.steps is None and options.minutes is None:
        options.minutes = 35.0
    return options


def _train(
    forward: evaluate.Forward, state: State, *, budget: Budget, tokenizer: Any, seed: int
) -> State:
    """Run steps until the budget is spent; the clock of a resumed training goes on as it stood."""
    recipe = Recipe()
    # Else a resumed training would warm up again.
    start = time.monotonic() - state.spent_s
    update = _update(forward, recipe)
    step = int(state.step)
    text = training_rows(recipe, tokenizer, seed, step)
    # Taken before the first step too: a resumed training may have spent its budget.
    progress = budget.progress(step, time.monotonic() - start)
    while progress < 1:
        count, length = recipe.rows_at(progress)
        batch = take(text[length], count)
        rate = recipe.learning_rate(progress)
        # The old weights and moments are given away to the step, and must not be read behind it.
        leaves, moments, loss = update(state.leaves, state.moments, batch, rate)
        step += 1
        # Nothing waits for the device here: the next batch is cut while this step runs.
        spent_s = time.monotonic() - start
        state = State(
            leaves,
            moments,
            step=np.int64(step),
            tokens=state.tokens + batch[:, 1:].size,
            spent_s=np.float64(spent_s),
        )
        _log_step(state, progress, loss)
        # On two cores 300 steps take under two minutes: no more than that is lost.
        if step % 300 == 0:
            _save(state)
        progress = budget.progress(step, spent_s)
    return _finished(state, start)


def _finished(state: State, start: float) -> State:
    """Wait for the last step, whose time is part of what was spent, and save."""
    jax.block_until_ready(state.leaves)
    spent_s = time.monotonic() - start
    state = state._replace(spent_s=np.float64(spent_s))
    _save(state)
    return state


def _log_step(state: State, progress: float, loss: jax.Array) -> None:
    """Print a line at every fiftieth step: reading the loss waits for the device."""
    if state.step % 50:
        return
    share = f"{100 * progress:.1f} %"
    _log(f"step {state.step} {share} loss {float(loss):.4f} {state.spent_s:.0f} s")


def _update(forward: evaluate.Forward, recipe: Recipe) -> Any:
    """Return one jitted optimiser step.

    Weights and moments are donated; everything is traced; it compiles once per row length.
    """
    optimizer = recipe.optimizer()

    def update(
        params: Leaves, moments: optax.OptState, rows: jax.Array, learning_rate: jax.Array
    ) -> tuple[Leaves, optax.OptState, jax.Array]:
        def loss_of(weights: Leaves) -> jax.Array:
            return evaluate.loss(forward, weights, rows)

        loss, grads = jax.value_and_grad(loss_of)(params)
        changes, moments = optimizer.update(grads, moments, params)
        # The rate is traced: as a constant of the optimiser it would compile anew at each step.
        changes = jax.tree.map(lambda change: -learning_rate * change, changes)
        params = typing.cast(Leaves, optax.apply_updates(params, changes))
        return params, moments, loss

    # Not donated, weights and both moments would lie in memory twice.
    return jax.jit(update, donate_argnums=(0, 1))


def _save(state: State) -> None:
    """Write the state where `--resume` looks for it, whole or not at all."""
    # It ends with .npz because savez would append that to any other name.
    beside = _SAVED.with_suffix(".part.npz")
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    np.savez(beside, *arrays)
    beside.replace(_SAVED)


def _restored(state: State) -> State:
    """Read what `_save` wrote, in the structure of this state."""
    with np.load(_SAVED) as saved:
        names = [f"arr_{index}" for index in range(len(saved.files))]
        leaves = [saved[name] for name in names]
    structure = jax.tree.structure(state)
    return jax.tree.unflatten(structure, leaves)


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
