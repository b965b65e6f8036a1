"""The pure programs that every jit strategy binds: prefill, one decode step, the whole decode loop.

Each takes (blueprint, leaves, cache, ...): the blueprint is closed over, the rest are arguments,
the cache is donated.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxgen.caches.protocol import Cache
from jaxgen.engine.capture import Captured, Taps
from jaxgen.models.decoder import last_hidden
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
        window: positions that a query sees, which rows without a cache of their own must know;
            null is all.
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
    """The rows of a batch so far. W is the longest that any row may become: nothing grows.

    Attributes:
        sequence: prompt and new tokens of each row, right-padded.
        lengths: tokens in each row so far; the newest is not yet in the cache.
        ends: the length at which each row ends, whatever its tokens are.
        done: rows that have ended; they are computed along and change no more.
        rows: the number of each row's prompt in the run.
        seed: of the sampling.
        captured: activations of the steps so far; null, and no part of any program, where none
            are captured.
    """

    sequence: Int[Array, "B W"]
    lengths: Int[Array, "B"]
    ends: Int[Array, "B"]
    done: Bool[Array, "B"]
    rows: Int[Array, "B"]
    seed: Int[Array, ""]
    captured: Captured | None = None


def prefill(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    prompt: Int[Array, "B T"],
    state: State,
) -> tuple[Cache, State]:
    """Run the right-padded prompts and choose each row's first new token.

    Where the cache holds the beginning of a prompt already, `prompt` is the rest of it.
    """
    model = blueprint.structure.model(leaves)
    taps = Taps(blueprint.capture) if state.captured else None
    # A text of 50 tokens, 32 of which are in shared pages, has 18 to run.
    counts = state.lengths - cache.positions(1)[:, 0]  # tokens of each row in `prompt`
    activations = jnp.dtype(blueprint.activations)
    hidden, cache = model(prompt, cache, dtype=activations, tap=taps)
    # The last hidden state is gathered before the head: logits of the whole prompt would cost more
    # than its layers.
    last = last_hidden(hidden, counts)
    logits_dtype = jnp.dtype(blueprint.logits)
    logits = model.logits(last, dtype=logits_dtype)
    state = _captured(blueprint, taps, state, positions=state.lengths - 1)
    return cache.advance(counts), _append(blueprint, logits, state)


def step(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    state: State,
) -> tuple[Cache, State]:
    """Choose each row's next token, from its newest one and the cache or from the whole prefix."""
    # Without a cache a step is a prefill of the prefix so far, which chooses one token as well.
    if not cache.incremental:
        return prefill(
            blueprint,
            leaves,
            cache,
            state.sequence[:, : cache.visible],
            state,
        )
    model = blueprint.structure.model(leaves)
    # The newest token alone: what came before is in the cache.
    at_newest = (state.lengths - 1)[:, None]
    newest = jnp.take_along_axis(state.sequence, at_newest, axis=1)  # B 1
    taps = Taps(blueprint.capture) if state.captured else None
    activations = jnp.dtype(blueprint.activations)
    hidden, cache = model(newest, cache, dtype=activations, tap=taps)
    logits_dtype = jnp.dtype(blueprint.logits)
    logits = model.logits(hidden[:, 0], dtype=logits_dtype)
    state = _captured(
        blueprint,
        taps,
        state,
        positions=jnp.zeros_like(state.lengths),
    )
    # A row that is done stays where it is: the next step overwrites what was written for it.
    counts = (~state.done).astype(jnp.int32)
    return cache.advance(counts), _append(blueprint, logits, state)


def loop(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Cache,
    state: State,
    steps: Int[Array, ""],
) -> tuple[Cache, State]:
    """Run up to `steps` steps in one program; it ends early when every row is done.

    `steps` is traced: another number of new tokens runs the same program.
    """

    def unfinished(carry):
        taken, _, state = carry
        return (taken < steps) & ~jnp.all(state.done)

    def body(carry):
        taken, cache, state = carry
        taken = taken + 1
        cache, state = step(blueprint, leaves, cache, state)
        return (
            taken,
            *constrain_to_mesh(blueprint, cache, state),
        )

    # From 0 in each segment: `steps` are those of one depth.
    _, cache, state = jax.lax.while_loop(unfinished, body, (jnp.int32(0), cache, state))
    return cache, state


def constrain_to_mesh(blueprint: Blueprint, cache: Cache, state: State) -> tuple[Cache, State]:
    """Return what a loop carries with its shardings fixed, where there is a mesh.

    Without that GSPMD may partition the carry anew inside the loop and put it together at its end.
    """
    layout = blueprint.structure.layout
    if layout is None:
        return (cache, state)
    return layout.constrain((cache, state))


def _captured(
    blueprint: Blueprint,
    taps: Taps | None,
    state: State,
    *,
    positions: Int[Array, "B"],
) -> State:
    """The state with the activations of this step, where any are asked for."""
    if taps is None or state.captured is None:
        return state
    return dataclasses.replace(
        state,
        captured=state.captured.with_step(blueprint.capture, taps, positions),
    )


def _append(
    blueprint: Blueprint,
    logits: Float[Array, "B V"],
    state: State,
) -> State:
    """Write the chosen token behind each row that is not done."""
    # The key depends on seed, row and position alone: whatever the cache, the same token is drawn.
    token = next_token(
        logits,
        blueprint.sampling,
        seed=state.seed,
        rows=state.rows,
        positions=state.lengths,
    )
    # On a mesh rows are read and written by comparison, so that GSPMD sees that no device needs
    # another's rows.
    on_mesh = blueprint.structure.layout is not None
    batch = jnp.arange(token.shape[0])
    # A done row of full length has no slot for another token: its last one is written again.
    at = jnp.minimum(state.lengths, state.sequence.shape[1] - 1)
    before = _read_by_rows(state.sequence, at) if on_mesh else state.sequence[batch, at]
    token = jnp.where(state.done, before, token)
    # A row may end by a token or by its length.
    ended = _is_end(blueprint, token, state.done)
    lengths = state.lengths + (~state.done).astype(jnp.int32)
    if on_mesh:
        sequence = _write_by_rows(state.sequence, at, token)
    else:
        sequence = state.sequence.at[batch, at].set(token)
    return dataclasses.replace(
        state,
        sequence=sequence,
        lengths=lengths,
        done=state.done | ended | (lengths >= state.ends),
    )


def _is_end(
    blueprint: Blueprint,
    token: Int[Array, "B"],
    done: Bool[Array, "B"],
) -> Bool[Array, "B"]:
    """Whether each row's token is one that ends a row."""
    ended = jnp.zeros_like(done)
    for eos in blueprint.eos_token_ids:
        ended = ended | (token == eos)
    return ended


def _read_by_rows(sequence: Int[Array, "B W"], at: Int[Array, "B"]) -> Int[Array, "B"]:
    """Return `sequence[rows, at]`."""
    return jnp.take_along_axis(sequence, at[:, None], axis=1)[:, 0]


def _write_by_rows(
    sequence: Int[Array, "B W"],
    at: Int[Array, "B"],
    tokens: Int[Array, "B"],
) -> Int[Array, "B W"]:
    """Return the sequence with `tokens` at `at`; the comparison costs nothing beside a model."""
    positions = jnp.arange(sequence.shape[1], dtype=at.dtype)[None, :]
    return jnp.where(positions == at[:, None], tokens[:, None], sequence)
