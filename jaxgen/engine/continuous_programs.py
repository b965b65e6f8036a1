"""The programs of continuous batching: a prompt enters a row, all rows go on until one ends."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxgen.caches.protocol import SlotAssignment, SlottedCache
from jaxgen.engine import programs
from jaxgen.engine.programs import Blueprint, State
from jaxgen.models.structure import Leaves


def admit(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: SlottedCache,
    prompt: Int[Array, "1 T"],
    row_state: State,
    assignment: SlotAssignment,
    state: State,
) -> tuple[SlottedCache, State]:
    """Run one prompt, choose its first token, and give it its row.

    Args:
        blueprint: closed over.
        leaves: the weights.
        cache: of all rows; donated.
        prompt: right-padded; without the tokens that its pages hold already.
        row_state: of the one row, as it is before the prefill.
        assignment: which row and which pages.
        state: of all rows.

    Returns:
        The cache and the state of all rows.
    """
    # The prompt runs on a cache of one row, so that the others are neither computed nor written.
    row, row_state = programs.prefill(
        blueprint,
        leaves,
        cache.open_row(assignment),
        prompt,
        row_state,
    )
    cache = cache.close_row(assignment, cast(SlottedCache, row))
    return cache, _with_row(state, assignment.slot, row_state)


def serve(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: SlottedCache,
    state: State,
    active: Bool[Array, "B"],
    steps: Int[Array, ""],
) -> tuple[SlottedCache, State]:
    """Run up to `steps` steps in one program; it ends as soon as an active row is done.

    `steps` and `active` are traced: whatever rows are active, it is one program.
    """

    def none_ended(carry):
        taken, _, state = carry
        # The first row that ends ends the loop: on the host somebody may be waiting for it.
        return (taken < steps) & ~jnp.any(state.done & active)

    def body(carry):
        taken, cache, state = carry
        taken = taken + 1
        cache, state = programs.step(blueprint, leaves, cache, state)
        return (
            taken,
            *programs.constrain_to_mesh(blueprint, cache, state),
        )

    # Rows without a prompt are computed along, and must not write: their pages are others' by now.
    start = (jnp.int32(0), cache.mask_rows(active), state)
    _, served, state = jax.lax.while_loop(none_ended, body, start)
    return cast(SlottedCache, served), state


def _with_row(state: State, slot: Int[Array, ""], row: State) -> State:
    """The state of all rows, of which one is `row` now."""

    def put(all_rows: Array, one_row: Array) -> Array:
        return all_rows.at[slot].set(one_row[0])

    # The other rows go on where they are; seed and captured buffers belong to all.
    return dataclasses.replace(
        state,
        sequence=put(state.sequence, row.sequence),
        lengths=put(state.lengths, row.lengths),
        ends=put(state.ends, row.ends),
        done=put(state.done, row.done),
        rows=put(state.rows, row.rows),
    )
