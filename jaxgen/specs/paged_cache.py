"""The KV cache in pages of a pool (`cache=paged`)."""

import dataclasses
import enum
from collections.abc import Sequence

from jaxgen.specs.fixed_cache import Fixed, at_least, round_up


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
        window: each token sees so many positions, its own and those just before; null takes the
            model's own window, and sees all where it has none.
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
        at_least("cache.page_size", self.page_size, 1)
        # Page 0 belongs to no row: a pool of one page would hold no token.
        at_least("cache.num_pages", self.num_pages, 2)
        at_least("cache.window", self.window, 1)
        at_least("cache.bucket", self.bucket, 0)

    def capacity(self, needed: int) -> int:
        """Return the slots of a row that must hold `needed` tokens: whole pages."""
        return round_up(needed, self.page_size)

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
        # A row of 17 tokens with pages of 16 has two of them, 32 slots.
        return sum(self.capacity(tokens) for tokens in needed)

    def depth(self, needed: int, capacity: int) -> int:
        """Return how many slots a step reads, by the rule of a fixed cache."""
        # Without the window: pages that have left it stay, and the depth grows with the text.
        return Fixed(bucket=self.bucket).depth(needed, capacity)

    def prompt_width(self, longest: int, capacity: int) -> int:
        """Return the width that prompts are padded to, by the rule of a fixed cache."""
        return Fixed(bucket=self.bucket).prompt_width(longest, capacity)
