"""What the model and the decode loop ask of a KV cache, so that neither needs an `if cache`.

Every cache has the protocol `Cache`. Two smaller ones add what only some callers need:
`ReadableCache` gives keys and values back, `SlottedCache` hands its rows from one text to the next.
"""

import dataclasses
from typing import ClassVar, Protocol, Self

import jax
from jaxtyping import Array, Bool, Float, Int

from jaxgen.ops.quantisation import KVArray


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
        """Return how many slots a step reads."""
        ...

    @property
    def static_shape(self) -> bool:
        """Say whether a loop may be compiled around a step."""
        ...

    def positions(self, time: int) -> Int[Array, "B T"]:
        """Return the absolute positions of the `time` incoming tokens of each row."""
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

    # Apart from `attend`, which every layer calls: all of them must see the same index.
    def advance(self, counts: Int[Array, "B"]) -> Self:
        """Keep `counts` of the tokens just written: the index moves here and nowhere else."""
        ...

    def with_depth(self, depth: int) -> Self:
        """Return the same cache, of which a step reads the first `depth` slots only.

        The depth is static: another depth is another program.
        """
        ...


class ReadableCache(Cache, Protocol):
    """A cache whose keys and values a later call can read: every cache that is `incremental`."""

    def layer_kv(self, layer: int) -> tuple[KVArray, KVArray, Int[Array, "B S"]]:
        """Return one layer's keys and values in the slots that are read, and their positions.

        Returns:
            Keys and values, (B, S, K, H), and the position in each slot, -1 where it holds nothing.
        """
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SlotAssignment:
    """The slot of the batch that a new text gets, and its pages; on the device.

    Attributes:
        slot: the row of the batch.
        table: the text's pages, as a paged cache lists them; empty for other caches.
        cached_tokens: how many tokens at the text's beginning these pages hold already.
        source, target: page `source` is copied to page `target` first; out of range where none is.
    """

    # Arrays and no numbers: another row, or other pages, run the same program.
    slot: Int[Array, ""]
    table: Int[Array, "M"]
    cached_tokens: Int[Array, ""]
    source: Int[Array, ""]
    target: Int[Array, ""]


class SlottedCache(Cache, Protocol):
    """A cache whose rows are given to one text after the other, while the other rows go on."""

    def open_row(self, assignment: SlotAssignment) -> Self:
        """Return the one row of a new text, ready for its prompt."""
        ...

    def close_row(self, assignment: SlotAssignment, row: Self) -> Self:
        """Return the whole batch again, with that row in it."""
        ...

    def mask_rows(self, active: Bool[Array, "B"]) -> Self:
        """Write nothing for rows that are not active: their slots may be another text's by now."""
        ...
