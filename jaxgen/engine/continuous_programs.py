"""The programs of continuous batching: a new text enters a row, and all rows go on until one of them ends."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxgen.caches.protocol import Place, Slotted
from jaxgen.engine import programs
from jaxgen.engine.programs import Blueprint, State
from jaxgen.models.structure import Leaves


def admit(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Slotted,
    prompt: Int[Array, "1 T"],
    text: State,
    place: Place,
    state: State,
) -> tuple[Slotted, State]:
    """Run one prompt, choose its first token, and let it have its row.

    Args:
        prompt: right-padded; without the tokens that its pages hold already.
        text: of one row, as it is before the prefill.
        place: which row and which pages.
        state: of all rows.
    """
    row, begun = programs.prefill(blueprint, leaves, cache.opened(place), prompt, text)
    return cache.closed(place, cast(Slotted, row)), _with_row(state, place.slot, begun)


def serve(
    blueprint: Blueprint,
    leaves: Leaves,
    cache: Slotted,
    state: State,
    active: Bool[Array, "B"],
    steps: Int[Array, ""],
) -> tuple[Slotted, State]:
    """Up to `steps` steps in one program; `steps` is traced. It ends as soon as an active row is done."""

    def going_on(carry):
        taken, _, at = carry
        return (taken < steps) & ~jnp.any(at.done & active)

    def body(carry):
        taken, kept, at = carry
        return (taken + 1, *programs.settled(blueprint, programs.step(blueprint, leaves, kept, at)))

    _, kept, state = jax.lax.while_loop(going_on, body, (jnp.int32(0), cache.only(active), state))
    return cast(Slotted, kept), state


def _with_row(state: State, slot: Int[Array, ""], one: State) -> State:
    """All rows, of which one is another text now."""
    names = ("sequence", "lengths", "ends", "done", "rows")
    return dataclasses.replace(
        state, **{name: getattr(state, name).at[slot].set(getattr(one, name)[0]) for name in names}
    )
