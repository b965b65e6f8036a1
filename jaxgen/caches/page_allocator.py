"""Which pages of a pool belong to whom: plain bookkeeping on the host, free of jax.

Page 0 is never handed out: what a table holds for a slot that was never asked for must not be
somebody's page.
"""

from collections.abc import Iterable

import numpy as np

from jaxgen.errors import UserError

RESERVED = 1
"""Pages at the beginning of a pool that belong to nobody."""


class PageAllocator:
    """Hands out pages and takes them back.

    A page that several texts share is free when the last one lets go.

    Args:
        num_pages: of the pool, the reserved one included.
    """

    def __init__(self, num_pages: int):
        self._references = np.zeros((num_pages,), np.int32)
        # An owner that never lets go.
        self._references[:RESERVED] = 1
        # A stack: the lowest number is at its end and is taken first.
        self._free = list(range(num_pages - 1, RESERVED - 1, -1))

    @property
    def free(self) -> int:
        """Return how many pages nobody has."""
        return len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Return `count` pages for one owner.

        Raises:
            UserError: there are not so many; none was taken.
        """
        # All or none: half of what a text needs is of no use to it.
        if count > self.free:
            raise exhausted(count, self.free)
        pages = [self._free.pop() for _ in range(count)]
        self._references[pages] = 1
        return pages

    def share(self, pages: Iterable[int]) -> None:
        """Add one more owner to pages that have one."""
        for page in pages:
            self._check(page)
            self._references[page] += 1

    def release(self, pages: Iterable[int]) -> None:
        """Take one owner from the pages; those without any are free again."""
        for page in pages:
            self._check(page)
            self._references[page] -= 1
            # The prefix tree is an owner too: it keeps a page beyond the text it came with.
            if not self._references[page]:
                self._free.append(page)

    def owners(self, page: int) -> int:
        """Return how many owners a page has."""
        return int(self._references[page])

    def _check(self, page: int) -> None:
        # A page freed twice would be given to two texts, and each would overwrite the other.
        if page < RESERVED or not self._references[page]:
            raise ValueError(f"page {page} belongs to nobody")


def exhausted(needed: int, free: int) -> UserError:
    """Return the error of a pool that is too small; it is raised before anything is written."""
    return UserError(
        f"the paged cache needs {needed} pages, {free} free: raise cache.num_pages, "
        "or lower workload.batch_size or workload.max_new_tokens"
    )


def pages_for(tokens: int, page_size: int) -> int:
    """Return how many pages hold so many tokens."""
    # Rounded up: 33 tokens take 3 pages of 16.
    return -(-tokens // page_size)
