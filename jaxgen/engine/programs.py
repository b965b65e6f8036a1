"""The pure programs that every jit strategy binds: prefill, one decode step, the whole decode loop.

Each takes (blueprint, leaves, cache, ...): the blueprint is closed over, the rest are arguments, the cache is donated.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches.protocol import Cache
from jaxgen.engine.capture import Captured, Taps
from jaxgen.models.structure import Leaves, Structure
from jaxgen.ops.sampling import next_token
from jaxgen.specs.workload import Capture, Sampling


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """What a program is closed over: structure and settings, hashable, no arrays.

    Attributes:
        activations, logits: dtype names.
        eos_token_ids: tokens that end a row; empty to go on regardless.
        capture: activations to keep.
        window: positions that a query sees, which rows without a cache of their own must know; null is all.
    """

    structure: Structure
    activations: str
    logits: str
    sampling: Sampling
    eos_token_ids: tuple[int, ...]
    capture: Capture = Capture()  # noqa: RUF009 - frozen
    window: int | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """Where a batch stands. W is the longest that any row may become: nothing grows.

    Attributes:
        sequence: prompt and new tokens of each row, right-padded.
        lengths: tokens in each row so far; the newest is not yet in the cache.
        ends: tokens with which each row is at its end, whatever they are.
        done: rows that have ended; they are computed along and change no more.
        rows: the number of each row's prompt in the run.
        seed: of the sampling.
        captured: activations of the steps so far; null, and no part of any program, where none are asked for.
    """

    sequence: Int[Array, "B W"]
    lengths: Int[Array, "B"]
    ends: Int[Array, "B"]
    done: Bool[Array, "B"]
    rows: Int[Array, "B"]
    seed: Int[Array, ""]
    captured: Captured | None = None


def prefill(
    blueprint: Blueprint, leaves: Leaves, cache: Cache, prompt: Int[Array, "B T"], state: State
) -> tuple[Cache, State]:
    """Run the right-padded prompts and choose each row's first new token.

    Where the cache holds the beginning of a text already, `prompt` is the rest of it.
    """
    model = blueprint.structure.model(leaves)
    taps = Taps(blueprint.capture) if state.captured else None
    given = state.lengths - cache.positions(1)[:, 0]  # tokens of each row in this prompt
    hidden, cache = model(prompt, cache, dtype=jnp.dtype(blueprint.activations), tap=taps)
    last = jnp.take_along_axis(hidden, (given - 1)[:, None, None], axis=1)[:, 0]
    logits = model.logits(last, dtype=jnp.dtype(blueprint.logits))
    state = _captured(blueprint, taps, state, positions=state.lengths - 1)
    return cache.advance(given), _append(blueprint, logits, state)


def step(blueprint: Blueprint, leaves: Leaves, cache: Cache, state: State) -> tuple[Cache, State]:
    """Choose each row's next token, from its newest token and the cache, or from the whole prefix without one."""
    if not cache.incremental:
        return prefill(blueprint, leaves, cache, state.sequence[:, : cache.visible], state)
    model = blueprint.structure.model(leaves)
    newest = jnp.take_along_axis(state.sequence, (state.lengths - 1)[:, None], axis=1)  # B 1
    taps = Taps(blueprint.capture) if state.captured else None
    hidden, cache = model(newest, cache, dtype=jnp.dtype(blueprint.activations), tap=taps)
    logits = model.logits(hidden[:, 0], dtype=jnp.dtype(blueprint.logits))
    state = _captured(blueprint, taps, state, positions=jnp.zeros_like(state.lengths))
    return cache.advance((~state.done).astype(jnp.int32)), _append(blueprint, logits, state)


def loop(
    blueprint: Blueprint, leaves: Leaves, cache: Cache, state: State, steps: Int[Array, ""]
) -> tuple[Cache, State]:
    """Up to `steps` steps in one program; `steps` is traced. It ends early when every row is done."""

    def unfinished(carry):
        taken, _, at = carry
        return (taken < steps) & ~jnp.all(at.done)

    def body(carry):
        taken, kept, at = carry
        return (taken + 1, *settled(blueprint, step(blueprint, leaves, kept, at)))

    _, cache, state = jax.lax.while_loop(unfinished, body, (jnp.int32(0), cache, state))
    return cache, state


def next_logprobs(
    blueprint: Blueprint, leaves: Leaves, cache: Cache, prompt: Int[Array, "B T"], state: State
) -> Float[Array, "B V"]:
    """Log-probabilities of the token after each right-padded prompt, float32; `cache` is left as it is."""
    model = blueprint.structure.model(leaves)
    hidden, _ = model(prompt, cache, dtype=jnp.dtype(blueprint.activations))
    last = jnp.take_along_axis(hidden, (state.lengths - 1)[:, None, None], axis=1)[:, 0]
    logits = model.logits(last, dtype=jnp.dtype(blueprint.logits))
    return jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)


def settled(blueprint: Blueprint, kept: tuple[Cache, State]) -> tuple[Cache, State]:
    """What a loop carries, on a mesh where it belongs: else the loop may cut it anew and put it together at its end."""
    layout = blueprint.structure.layout
    return kept if layout is None else layout.kept(kept)


def _captured(
    blueprint: Blueprint, taps: Taps | None, state: State, *, positions: Int[Array, "B"]
) -> State:
    """The state with the activations of this step, where any are asked for."""
    if taps is None or state.captured is None:
        return state
    return dataclasses.replace(
        state, captured=state.captured.with_step(blueprint.capture, taps, positions)
    )


def _append(blueprint: Blueprint, logits: Float[Array, "B V"], state: State) -> State:
    """Write the chosen token behind each row that is not done."""
    token = next_token(
        logits, blueprint.sampling, seed=state.seed, rows=state.rows, positions=state.lengths
    )
    on_mesh = blueprint.structure.layout is not None
    batch = jnp.arange(token.shape[0])
    at = jnp.minimum(
        state.lengths, state.sequence.shape[1] - 1
    )  # a done row of full length stays as it is
    before = _read_by_rows(state.sequence, at) if on_mesh else state.sequence[batch, at]
    kept = jnp.where(state.done, before, token)
    ended = jnp.zeros_like(state.done)
    for eos in blueprint.eos_token_ids:
        ended = ended | (token == eos)
    lengths = state.lengths + (~state.done).astype(jnp.int32)
    return dataclasses.replace(
        state,
        sequence=_write_by_rows(state.sequence, at, kept)
        if on_mesh
        else state.sequence.at[batch, at].set(kept),
        lengths=lengths,
        done=state.done | ended | (lengths >= state.ends),
    )


def _read_by_rows(sequence: Int[Array, "B W"], at: Int[Array, "B"]) -> Int[Array, "B"]:
    """`sequence[rows, at]` where rows are shared out: GSPMD then sees that none of them needs another device's."""
    return jnp.take_along_axis(sequence, at[:, None], axis=1)[:, 0]


def _write_by_rows(
    sequence: Int[Array, "B W"], at: Int[Array, "B"], tokens: Int[Array, "B"]
) -> Int[Array, "B W"]:
    """The same for writing; a comparison with every place costs nothing beside a model."""
    places = jnp.arange(sequence.shape[1], dtype=at.dtype)[None, :]
    return jnp.where(places == at[:, None], tokens[:, None], sequence)
