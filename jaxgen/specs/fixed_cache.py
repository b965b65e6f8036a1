"""The preallocated KV cache (`cache=fixed`)."""

import dataclasses
import enum
from collections.abc import Sequence

from jaxgen.errors import UserError

PROMPT_STEP = 16
"""Prompts of a fixed cache are padded to a multiple of this: similar lengths share a program."""


class KVLayout(enum.Enum):
    """The axes of a row in memory, outermost first: slots (N), kv heads (H), head_dim (D).

    `auto` takes the one that was measured to be faster.
    """

    auto = "auto"
    NHD = "NHD"
    HND = "HND"


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Preallocated: `max_len` slots per row, written in place.

    Attributes:
        max_len: slots per row; null takes what the prompts and the new tokens need, rounded up to
            `bucket`.
        bucket: attention reads the slots in use rounded up to this times a power of two; 0 reads
            all of them.
        window: each token sees so many positions, its own and those just before; null takes the
            model's own window, and sees all where it has none.
            With one region no row has more slots than that: a token takes the slot of the one that
            has left the window. With two, what has left is hidden by the mask and keeps its slot.
        regions: 2 keeps new tokens in a buffer of their own, where a step writes at one index for
            all rows.
        layout: `NHD` has a slot's heads side by side in memory, `HND` a head's slots; `auto` takes
            the one that was faster where both were measured, with so many rows in such a dtype.
    """

    max_len: int | None = None
    bucket: int = 128
    window: int | None = None
    regions: int = 1
    layout: KVLayout = KVLayout.auto

    def __post_init__(self):
        at_least("cache.max_len", self.max_len, 1)
        at_least("cache.bucket", self.bucket, 0)
        at_least("cache.window", self.window, 1)
        if self.regions not in (1, 2):
            raise UserError(
                f"cache.regions={self.regions} is impossible: it must be 1 (one buffer for a row's "
                "whole text) or 2 (one for the prompt, one for the new tokens)"
            )

    @property
    def has_two_regions(self) -> bool:
        """Whether prompts and new tokens have a buffer each, and all rows go in step."""
        return self.regions == 2

    def capacity(self, needed: int) -> int:
        """Return the slots of a row that must hold `needed` tokens.

        The caller checks that a `max_len` of the user's is enough.
        """
        if self.max_len is not None:
            return self.max_len
        if not self.bucket:
            return needed
        # Texts of similar lengths get the same capacity in this way, and so share their programs.
        return round_up(needed, self.bucket)

    def reserved(self, needed: Sequence[int], capacity: int) -> int:
        """Return the slots that nobody else can have: all of every row, whatever its tokens."""
        if self.has_two_regions:
            # The padding of a prompt stays in the first region, so a row has room for it as well.
            return len(needed) * (capacity + PROMPT_STEP)
        return len(needed) * self.slots(capacity)

    def pool(self, rows: int, capacity: int) -> int:
        """Return 0: a fixed cache has no pages."""
        # Continuous batching asks for pages whatever the kind of cache.
        del rows, capacity
        return 0

    def pages_per_row(self, capacity: int) -> int:
        """Return 0: a fixed cache has no pages."""
        del capacity
        return 0

    def slots(self, capacity: int) -> int:
        """Return the slots of a row that may hold `capacity` tokens: no more than a window."""
        if self.window is None:
            return capacity
        return min(capacity, self.window)

    def new_slots(self, width: int, capacity: int) -> int:
        """Return the slots of the second region.

        They are what prompts padded to `width` leave of the capacity, and what the padding took.

        It depends on no prompt's own length, so that similar prompts share a program. With a
        capacity of 128 and prompts of 17 tokens, padded to 32: 112 slots for the 111 tokens that
        there is room for.
        """
        return capacity - width + PROMPT_STEP

    def depth(self, needed: int, capacity: int) -> int:
        """Return how many slots a step reads that must see `needed`.

        Few different depths make few programs.
        With bucket 128 and capacity 1024: 17 -> 128, 129 -> 256, 300 -> 512, 600 -> 1024.
        """
        slots = self.slots(capacity)
        if not self.bucket:
            return slots
        blocks = -(-needed // self.bucket)
        # The next power of two of `blocks`: each depth is twice the one before.
        power = 1 << (blocks - 1).bit_length()
        # The buffer ends at `slots`: the deepest read is all of it, a power of two or not.
        return min(self.bucket * power, slots)

    def prompt_width(self, longest: int, capacity: int) -> int:
        """Return the width that prompts are padded to: a multiple of 16, but for the capacity."""
        # With a `max_len` that is no multiple of the step, the last one is shorter.
        return min(round_up(longest, PROMPT_STEP), capacity)


def round_up(count: int, step: int) -> int:
    """Return the least multiple of `step` that is `count` or more."""
    return -(-count // step) * step


def at_least(key: str, value: int | None, least: int) -> None:
    """Refuse a value of a key that is too small; null is no number and passes."""
    if value is not None and value < least:
        raise UserError(f"{key}={value} is impossible: it must be {least} or more")
