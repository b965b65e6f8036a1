"""The KV caches a run can choose from (`cache=`)."""

import dataclasses
import enum
from collections.abc import Sequence
from typing import TypeGuard

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture

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
        window: each token sees so many positions, its own and those just before; null sees all.
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
        _at_least("cache.max_len", self.max_len, 1)
        _at_least("cache.bucket", self.bucket, 0)
        _at_least("cache.window", self.window, 1)
        if self.regions not in (1, 2):
            raise UserError(
                f"cache.regions={self.regions} is impossible: it must be 1 (one buffer for a row's "
                "whole text) or 2 (one for the prompt, one for the new tokens)"
            )

    def capacity(self, needed: int) -> int:
        """Return the slots of a row that must hold `needed` tokens.

        The caller checks that a `max_len` of the user's is enough.
        """
        if self.max_len is not None:
            return self.max_len
        if not self.bucket:
            return needed
        return _round_up(needed, self.bucket)

    def reserved(self, needed: Sequence[int], capacity: int) -> int:
        """Return the slots that nobody else can have: all of every row, whatever its tokens."""
        if has_two_regions(self):
            # The padding of a prompt stays in the first region, so a row has room for it as well.
            return len(needed) * (capacity + PROMPT_STEP)
        return len(needed) * self.slots(capacity)

    def pool(self, rows: int, capacity: int) -> int:
        """Return 0: a fixed cache has no pages."""
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
        return min(self.bucket * power, slots)

    def prompt_width(self, longest: int, capacity: int) -> int:
        """Return the width that prompts are padded to: a multiple of 16, but for the capacity."""
        # With a `max_len` that is no multiple of the step, the last one is shorter.
        return min(_round_up(longest, PROMPT_STEP), capacity)


@dataclasses.dataclass(frozen=True)
class NoCache:
    """None: the whole prefix is computed again for each token.

    Attributes:
        pad: pad every prefix to the longest, so that all steps share one shape.
        window: each token sees so many positions, its own and those just before; null sees all.
    """

    pad: bool = False
    window: int | None = None

    def __post_init__(self):
        _at_least("cache.window", self.window, 1)

    def capacity(self, needed: int) -> int:
        """Return the length of the longest prefix."""
        return needed

    def reserved(self, needed: Sequence[int], capacity: int) -> int:
        """Return 0: nothing is stored."""
        del needed, capacity
        return 0

    def depth(self, needed: int, capacity: int) -> int:
        """Return the tokens that a step runs again: the prefix, or the longest that there is."""
        if self.pad:
            return capacity
        return min(needed, capacity)

    def prompt_width(self, longest: int, capacity: int) -> int:
        """Return the width of the prompts, which are prefixes like the later ones."""
        return self.depth(longest, capacity)


@dataclasses.dataclass(frozen=True)
class Dynamic:
    """Grown by concatenation: a new shape, and so a new program, for each token.

    Attributes:
        window: each token sees so many positions, its own and those just before; null sees all.
            What has left the window is dropped, so that a row grows no further.
    """

    window: int | None = None

    def __post_init__(self):
        _at_least("cache.window", self.window, 1)

    def capacity(self, needed: int) -> int:
        """Return the slots at the end of the text."""
        return needed

    def reserved(self, needed: Sequence[int], capacity: int) -> int:
        """Return the slots of all rows: every row has as many as the longest."""
        longest = max(needed, default=0)
        return len(needed) * self.depth(longest, capacity)

    def depth(self, needed: int, capacity: int) -> int:
        """Return the slots that a step reads: all that there are."""
        del capacity
        if self.window is None:
            return needed
        return min(needed, self.window)

    def prompt_width(self, longest: int, capacity: int) -> int:
        """Return the width of the prompts: no more than the longest has tokens."""
        del capacity
        return longest


class PageKernel(enum.Enum):
    """How a decode step reads pages.

    They are all copied together first, read a few at a time, or read by JAX's own kernel; `auto`
    chooses.
    """

    auto = "auto"
    reference = "reference"
    blockwise = "blockwise"
    pallas = "pallas"


@dataclasses.dataclass(frozen=True)
class Paged:
    """Pages of a pool, found through a table: a row has as many as its own length needs.

    Attributes:
        page_size: tokens of a page.
        num_pages: of the pool, one of which is reserved; null takes what full rows need.
        window: each token sees so many positions, its own and those just before; null sees all.
            Pages that have left the window stay.
        bucket: attention reads the slots in use rounded up to this times a power of two; 0 reads
            all of them.
        kernel: of a decode step: `reference` copies the pages together first, `blockwise` attends
            to a few at a time, `pallas` is the kernel that JAX ships for GPU or TPU; `auto` is that
            where there is one for the shapes, else one of the others.
    """

    page_size: int = 16
    num_pages: int | None = None
    window: int | None = None
    bucket: int = 128
    kernel: PageKernel = PageKernel.auto

    def __post_init__(self):
        _at_least("cache.page_size", self.page_size, 1)
        _at_least("cache.num_pages", self.num_pages, 2)
        _at_least("cache.window", self.window, 1)
        _at_least("cache.bucket", self.bucket, 0)

    def capacity(self, needed: int) -> int:
        """Return the slots of a row that must hold `needed` tokens: whole pages."""
        return _round_up(needed, self.page_size)

    def pool(self, rows: int, capacity: int) -> int:
        """Return the pages of the whole pool; the first belongs to no row."""
        if self.num_pages is not None:
            return self.num_pages
        # Tables hold page 0 for slots that no row has asked for: it is one more than rows need.
        return rows * self.pages_per_row(capacity) + 1

    def pages_per_row(self, capacity: int) -> int:
        """Return how many pages a row of `capacity` tokens has."""
        return -(-capacity // self.page_size)

    def reserved(self, needed: Sequence[int], capacity: int) -> int:
        """Return the slots of all rows' pages, each row by its own tokens."""
        del capacity
        return sum(self.capacity(tokens) for tokens in needed)

    def depth(self, needed: int, capacity: int) -> int:
        """Return how many slots a step reads, by the rule of a fixed cache."""
        return Fixed(bucket=self.bucket).depth(needed, capacity)

    def prompt_width(self, longest: int, capacity: int) -> int:
        """Return the width that prompts are padded to, by the rule of a fixed cache."""
        return Fixed(bucket=self.bucket).prompt_width(longest, capacity)


CacheSpec = Fixed | NoCache | Dynamic | Paged


def has_two_regions(cache: CacheSpec) -> TypeGuard[Fixed]:
    """Say whether prompts and new tokens have a buffer each, and all rows go in step."""
    return isinstance(cache, Fixed) and cache.regions == 2


def step_depth(cache: CacheSpec, *, width: int, longest: int, taken: int, capacity: int) -> int:
    """Return the slots of each row that a decode step reads.

    Args:
        cache: the kind of cache.
        width: what the batch's prompts are padded to, the longest of which has `longest` tokens.
        taken: new tokens of the batch before the step.
        capacity: tokens that a row has room for.
    """
    if has_two_regions(cache):
        # All of the first region is read, and of the second as much as a fixed cache would.
        room = cache.new_slots(width, capacity)
        second = dataclasses.replace(cache, window=None)
        return width + second.depth(taken, room)
    return cache.depth(longest + taken, capacity)


def windowed(cache: CacheSpec, architecture: Architecture) -> CacheSpec:
    """Return the cache with the window that holds: the smaller of its own and the model's.

    It is null where neither hides a token.

    Raises:
        UserError: the window is larger than the model's context.
    """
    asked, context = cache.window, architecture.context
    if asked is not None and asked > context:
        raise UserError(
            f"cache.window={asked} is larger than the model's context of {context}: "
            f"give {context} or less, or null"
        )
    # A window as wide as the context hides nothing: without one, the plain programs serve.
    narrowest = min(asked or context, architecture.window or context)
    window = narrowest if narrowest < context else None
    return dataclasses.replace(cache, window=window)


def _round_up(count: int, step: int) -> int:
    """Return the least multiple of `step` that is `count` or more."""
    return -(-count // step) * step


def _at_least(key: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UserError(f"{key}={value} is impossible: it must be {least} or more")
