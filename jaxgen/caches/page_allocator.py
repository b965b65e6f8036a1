"""Which pages of a pool belong to whom: plain bookkeeping on the host, free of jax.

Page 0 is never handed out: what a table holds for a slot that was never asked for must not be somebody's page.
"""

from collections.abc import Iterable

import numpy as np

from jaxgen.errors import UserError

RESERVED = 1
"""Pages at the beginning of a pool that belong to nobody."""


class PageAllocator:
    """Hands out pages and takes them back; a page that several texts share is free when the last one lets go.

    Args:
        num_pages: of the pool, the reserved one included.
    """

    def __init__(self, num_pages: int):
        self._references = np.zeros((num_pages,), np.int32)
        self._references[:RESERVED] = 1
        self._free = list(range(num_pages - 1, RESERVED - 1, -1))  # the lowest is taken first

    @property
    def free(self) -> int:
        """How many pages nobody has."""
        return len(self._free)

    @property
    def used(self) -> int:
        """How many pages somebody has."""
        return self._references.size - RESERVED - self.free

    def allocate(self, count: int) -> list[int]:
        """`count` pages for one owner.

        Raises:
            UserError: there are not so many; none was taken.
        """
        if count > self.free:
            raise exhausted(count, self.free)
        pages = [self._free.pop() for _ in range(count)]
        self._references[pages] = 1
        return pages

    def share(self, pages: Iterable[int]) -> None:
        """One more owner for pages that have one."""
        for page in pages:
            self._check(page)
            self._references[page] += 1

    def release(self, pages: Iterable[int]) -> None:
        """One owner fewer; pages without any are free again."""
        for page in pages:
            self._check(page)
            self._references[page] -= 1
            if not self._references[page]:
                self._free.append(page)

    def owners(self, page: int) -> int:
        """How many texts a page belongs to."""
        return int(self._references[page])

    def _check(self, page: int) -> None:
        if page < RESERVED or not self._references[page]:
            raise ValueError(f"page {page} belongs to nobody")


def exhausted(needed: int, free: int) -> UserError:
    """The pool is too small; told before anything is written."""
    return UserError(
        f"the paged cache needs {needed} pages, {free} free: raise cache.num_pages, or lower workload.batch_size or "
        "workload.max_new_tokens"
    )


def pages_for(tokens: int, page_size: int) -> int:
    """Pages that hold so many tokens."""
    return -(-tokens // page_size)
