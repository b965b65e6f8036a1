"""What the model and the decode loop ask of a KV cache, so that neither needs an `if cache`."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Protocol, Self

import jax
from jaxtyping import Array, Bool, Float, Int

from jaxgen.ops.quantisation import Kept
from jaxgen.specs.architecture import Architecture


class Cache(Protocol):
    """An immutable, registered pytree: every method returns a new one.

    What a cache allows; the engine reads it in one place:
        incremental: a step is fed the newest token alone; else the whole prefix.
        static_shape: no array grows from step to step, so that a loop may be compiled around it.
        donated: its buffers are handed to each step, which writes in place.
    """

    incremental: ClassVar[bool]
    donated: ClassVar[bool]

    @property
    def visible(self) -> int:
        """How many slots a step reads."""
        ...

    @property
    def static_shape(self) -> bool:
        """Whether a loop may be compiled around a step."""
        ...

    @classmethod
    def create(
        cls,
        spec,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        dtype,
        needed: Sequence[int] = (),
    ) -> Self:
        """An empty cache for `batch` rows of up to `capacity` tokens; `spec` is the kind's own spec class.

        Only a kind whose rows may have different room looks at `needed`, the tokens that each may come to hold.
        """
        ...

    def positions(self, time: int) -> Int[Array, "B T"]:
        """Absolute positions of the `time` incoming tokens of each row."""
        ...

    def attend(
        self,
        layer: int,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B T K H"],
        v: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], Self]:
        """Write `k` and `v` of one layer, and attend over all that the row's queries may see."""
        ...

    def kept(self, layer: int) -> tuple[Kept, Kept, Int[Array, "B S"]]:
        """One layer's keys and values in the slots that are read, and each slot's position, -1 where it holds nothing.

        For rows that continue a text which another call put here; only caches that are `incremental` have any.
        """
        ...

    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` of the tokens just written to each row: the index moves here and nowhere else."""
        ...

    def reading(self, depth: int) -> Self:
        """The same cache, of which a step reads the first `depth` slots only. Depth is static: part of the program."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Place:
    """Where a new text goes, on the device.

    Attributes:
        slot: the row.
        table: its pages, as a paged cache lists them; empty for others.
        kept: tokens at its beginning that these hold already.
        source, target: a page is copied from here to there first; out of range where none is.
    """

    slot: Int[Array, ""]
    table: Int[Array, "M"]
    kept: Int[Array, ""]
    source: Int[Array, ""]
    target: Int[Array, ""]


class Slotted(Cache, Protocol):
    """A cache whose rows can be given to one text after the other, while the others go on."""

    def opened(self, place: Place) -> Self:
        """The one row of a new text, ready for its prompt."""
        ...

    def closed(self, place: Place, row: Self) -> Self:
        """The whole again, with that row."""
        ...

    def only(self, rows: Bool[Array, "B"]) -> Self:
        """Nothing is written for the other rows any more: what they had may be somebody else's by now."""
        ...
