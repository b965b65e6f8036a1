"""Faults on purpose: more work, more compiles, other tokens or weights than there should be, and a wrong clock."""

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

_TURNS = (
    2  # matrix products in one piece of the extra work: a piece is what its length is rounded to
)


class Faults:
    """What is wrong with one arm.

    Args:
        fault: the spec.
    """

    def __init__(self, fault: Fault):
        self._piece: Callable[[], None] | None = None
        self.fault = fault

    @property
    def fault(self) -> Fault:
        """The spec. May be changed between trials: what it needs is compiled then, outside any clock."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        if fault.slowdown and self._piece is None:
            self._piece = _piece_of_work()
        self._fault = fault

    def clock(self) -> float:
        """Seconds, as the arm's clock has them."""
        return self.fault.clock * time.perf_counter()

    def weights(self, leaves: Leaves) -> Leaves:
        """The weights that the arm gets: as they are, or the first floating tensor all NaN."""
        if not self.fault.nan_weights:
            return leaves
        first = next(
            number for number, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)
        )
        return (*leaves[:first], jnp.full_like(leaves[first], jnp.nan), *leaves[first + 1 :])

    def after_call(self, outputs: Any, began_s: float) -> None:
        """Inside the clock, behind the arm's own work: compile once more, work once more.

        The extra work comes in small pieces until its time is over. A count of pieces, fixed beforehand, would be 5 %
        only as long as the machine is as fast as it was then.

        Args:
            outputs: of the call; waited for where the extra work must know how long it took.
            began_s: when the call began, by `time.perf_counter`.
        """
        if self.fault.recompile:
            _compile_one_more()
        if self.fault.slowdown and self._piece is not None:
            jax.block_until_ready(outputs)
            now_s = time.perf_counter()
            until_s = now_s + self.fault.slowdown * (now_s - began_s)
            piece_s = 0.0
            while (
                now_s + piece_s / 2 < until_s
            ):  # the last piece is as often cut off as it is too long
                self._piece()
                piece_s, now_s = time.perf_counter() - now_s, time.perf_counter()

    def written(self, rows: Sequence[Output]) -> list[Output]:
        """What the arm says it wrote: as it is, or the first row's last token replaced by its neighbour."""
        (tokens, reason), *others = rows
        if not self.fault.wrong_token:
            return list(rows)
        return [([*tokens[:-1], tokens[-1] + (1 if tokens[-1] == 0 else -1)], reason), *others]

    def scored(self, scores: Sequence[float]) -> list[float]:
        """The scores that the arm says an item has: as they are, or the first one turned round."""
        return [1 - scores[0], *scores[1:]] if self.fault.wrong_token else list(scores)


def _compile_one_more() -> None:
    """A new function object each time, which jit cannot find again."""

    def recompiled_on_purpose(number):
        return -number

    jax.jit(recompiled_on_purpose)(np.int32(1))


def _piece_of_work() -> Callable[[], None]:
    """Some tens of microseconds of matrix products on the device, compiled and run once."""
    matrix = jnp.ones((64, 64), jnp.float32)
    compiled = jax.jit(_work).lower(matrix).compile()

    def piece() -> None:
        jax.block_until_ready(compiled(matrix))

    piece()
    return piece


def _work(matrix: Float[Array, "64 64"]) -> Float[Array, "64 64"]:
    return jax.lax.fori_loop(0, _TURNS, lambda _, kept: kept @ matrix * jnp.float32(1 / 64), matrix)
