"""The KV caches a run can choose from (`cache=`)."""

import dataclasses
from collections.abc import Sequence
from typing import TypeGuard

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.fixed_cache import PROMPT_STEP, Fixed, KVLayout, at_least
from jaxgen.specs.paged_cache import Paged, PageKernel

__all__ = [
    "PROMPT_STEP",
    "CacheSpec",
    "Dynamic",
    "Fixed",
    "KVLayout",
    "NoCache",
    "PageKernel",
    "Paged",
    "has_two_regions",
    "step_depth",
    "windowed",
]


@dataclasses.dataclass(frozen=True)
class NoCache:
    """None: the whole prefix is computed again for each token.

    Attributes:
        pad: pad every prefix to the longest, so that all steps share one shape.
        window: each token sees so many positions, its own and those just before; null takes the
            model's own window, and sees all where it has none.
    """

    pad: bool = False
    window: int | None = None

    def __post_init__(self):
        at_least("cache.window", self.window, 1)

    def capacity(self, needed: int) -> int:
        """Return the length of the longest prefix."""
        return needed

    def reserved(self, needed: Sequence[int], capacity: int) -> int:
        """Return 0: nothing is stored."""
        del needed, capacity
        return 0

    def depth(self, needed: int, capacity: int) -> int:
        """Return the tokens that a step runs again: the prefix, or the longest that there is."""
        # Unpadded, 24 new tokens are 24 shapes and as many programs to compile. Padded they are
        # one, and every step costs as much as the last.
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
        window: each token sees so many positions, its own and those just before; null takes the
            model's own window, and sees all where it has none.
            What has left the window is dropped, so that a row grows no further.
    """

    window: int | None = None

    def __post_init__(self):
        at_least("cache.window", self.window, 1)

    def capacity(self, needed: int) -> int:
        """Return the slots at the end of the text."""
        return needed

    def reserved(self, needed: Sequence[int], capacity: int) -> int:
        """Return the slots of all rows: every row has as many as the longest."""
        # A batch is one array: the rows of short texts grow with the longest.
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


CacheSpec = Fixed | NoCache | Dynamic | Paged


def has_two_regions(cache: CacheSpec) -> TypeGuard[Fixed]:
    """Say whether prompts and new tokens have a buffer each, and all rows go in step."""
    # A function beside the property: by its annotation a type checker narrows the union.
    return isinstance(cache, Fixed) and cache.has_two_regions


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
        # The window hides tokens by the mask here and frees no slot, so that it shortens no read.
        # With bucket 128, prompts padded to 32 and 5 new tokens so far a step reads 160 slots.
        second = dataclasses.replace(cache, window=None)
        return width + second.depth(taken, room)
    # The longest row decides for all: the mask hides what shorter rows do not have.
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
