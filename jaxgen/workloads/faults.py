"""Faults on purpose: more work, more compiles, other tokens or weights, and a wrong clock."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxgen.engine.engine import Output
from jaxgen.models.structure import Leaves
from jaxgen.specs.fault import Fault

Clock = Callable[[], float]

# In one piece of the extra work: its length is rounded to whole pieces, so a piece has to be short.
_PRODUCTS = 2


class Faults:
    """What is wrong with one arm.

    Args:
        fault: the spec.

    Attributes:
        fault: changed between trials by `change`.
    """

    def __init__(self, fault: Fault):
        self.fault = fault
        self._piece: Callable[[], None] | None = None

    def compile(self) -> None:
        """Compile what the fault needs: outside any clock, before the first call."""
        if self.fault.slowdown and self._piece is None:
            self._piece = _piece_of_work()

    def change(self, fault: Fault) -> None:
        """Put another fault in, and compile what it needs."""
        self.fault = fault
        self.compile()

    def clock(self) -> float:
        """Return seconds, as the arm's clock has them."""
        return self.fault.clock * time.perf_counter()

    def weights(self, leaves: Leaves) -> Leaves:
        """Return the arm's weights: as they are, or with NaN in the first floating tensor."""
        if not self.fault.nan_weights:
            return leaves
        # One tensor is enough: every logit depends on it.
        broken = list(leaves)
        for number, leaf in enumerate(leaves):
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                broken[number] = jnp.full_like(leaf, jnp.nan)
                break
        return tuple(broken)

    def after_call(self, outputs: Any, began_s: float) -> None:
        """Compile once more and work once more, inside the clock, behind the arm's own work.

        Args:
            outputs: of the call; waited for where the extra work must know how long it took.
            began_s: when the call began, by `time.perf_counter`.
        """
        # Inside the clock on purpose: the ledger and the trials have to notice it.
        if self.fault.recompile:
            _compile_one_more()
        if not self.fault.slowdown:
            return
        assert self._piece is not None, "compile() comes before the first call"
        # Dispatch is asynchronous: how long the call took is known once its outputs are there.
        jax.block_until_ready(outputs)
        now_s = time.perf_counter()
        until_s = now_s + self.fault.slowdown * (now_s - began_s)
        # Small pieces until the time is over: a fixed number of them would be 5 % only as long as
        # the machine is as fast as it was then. The last one is as often left out as too long.
        piece_s = 0.0
        while now_s + piece_s / 2 < until_s:
            before_s = now_s
            self._piece()
            now_s = time.perf_counter()
            piece_s = now_s - before_s

    def outputs(self, rows: Sequence[Output]) -> list[Output]:
        """Return the arm's outputs: as they are, or with another last token in the first row."""
        if not self.fault.wrong_token:
            return list(rows)
        tokens, reason = rows[0]
        last = tokens[-1]
        # A token of the vocabulary in any case: 0 has no neighbour below.
        neighbour = last + 1 if last == 0 else last - 1
        return [
            ([*tokens[:-1], neighbour], reason),
            *rows[1:],
        ]

    def scores(self, scores: Sequence[float]) -> list[float]:
        """Return the arm's scores of an item: as they are, or with the first one inverted."""
        if not self.fault.wrong_token:
            return list(scores)
        return [1 - scores[0], *scores[1:]]


def _compile_one_more() -> None:
    """Jit a new function object each time, which jax cannot find again."""

    def recompiled_on_purpose(number):
        return -number

    jax.jit(recompiled_on_purpose)(np.int32(1))


def _piece_of_work() -> Callable[[], None]:
    """Some tens of microseconds of matrix products on the device, compiled and run once."""
    matrix = jnp.ones((64, 64), jnp.float32)
    compiled = jax.jit(_work).lower(matrix).compile()

    def piece() -> None:
        jax.block_until_ready(compiled(matrix))

    # Once before any clock: the first run of a program may be slower.
    piece()
    return piece


def _work(
    matrix: Float[Array, "64 64"],
) -> Float[Array, "64 64"]:
    def multiply(_, product):
        return product @ matrix * jnp.float32(1 / 64)

    return jax.lax.fori_loop(0, _PRODUCTS, multiply, matrix)
