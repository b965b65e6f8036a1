"""Which text may write where, in a cache whose rows are given to one text after the other.

Decided on the host, free of jax.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jaxgen.caches.page_allocator import RESERVED, PageAllocator, exhausted, pages_for
from jaxgen.caches.prefix_tree import Match, PrefixTree
from jaxgen.specs.cache import Fixed, Paged

NO_MATCH = Match(pages=(), page=None, tokens=0)


@dataclasses.dataclass(frozen=True)
class Allocation:
    """What one text gets of the cache.

    Attributes:
        pages: the text's pages, its own and shared ones, in the order of its positions.
        cached_tokens: how many tokens at its beginning these pages hold already.
        source: the page whose content its first own page begins with; null where nothing is copied.
        shared: how many of `pages` it did not have to allocate.
    """

    pages: tuple[int, ...] = ()
    cached_tokens: int = 0
    source: int | None = None
    shared: int = 0


class CacheManager(Protocol):
    """Allocates the room of a cache to texts, and frees it again."""

    def allocate(self, tokens: Sequence[int], most: int) -> Allocation | None:
        """Return room for a text that begins with `tokens` and may become `most` tokens long.

        It is null while there is no room.
        """
        ...

    def free(self, allocation: Allocation) -> None:
        """Take back the room of a text that has ended."""
        ...

    def slots(self) -> int:
        """Return how many slots are allocated, so that nobody else can have them."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what was allocated so far, as plain data."""
        ...


class RowManager:
    """Every row has all the slots it can ever need, whether it has a text or not.

    Args:
        slots: of all rows.
    """

    def __init__(self, slots: int):
        self._slots = slots

    def allocate(self, tokens: Sequence[int], most: int) -> Allocation:
        """Return an empty allocation: there is nothing to decide."""
        del tokens, most
        return Allocation()

    def free(self, allocation: Allocation) -> None:
        """Do nothing."""
        del allocation

    def slots(self) -> int:
        """Return the slots of all rows."""
        return self._slots

    def facts(self) -> dict[str, Any]:
        """Return nothing: the batch says it all."""
        return {}


class PageManager:
    """Allocates pages for the whole of a text when it begins: no text is ever driven out half-way.

    Args:
        spec: of the cache.
        num_pages: of its pool.
        share: whether texts share the pages that they begin with.
    """

    def __init__(self, spec: Paged, *, num_pages: int, share: bool):
        self._page_size = spec.page_size
        self._num_pages = num_pages
        self._allocator = PageAllocator(num_pages)
        self._tree = PrefixTree(self._allocator, spec.page_size) if share else None
        self._counts = {
            "texts": 0,
            "hits": 0,
            "kept_tokens": 0,
            "shared_pages": 0,
            "copied_pages": 0,
        }
        self._most_pages = 0
        # Counted apart from the allocator, to which the prefix tree is an owner as well: what the
        # tree alone keeps can be evicted, and is nobody's.
        self._texts_of_page: dict[int, int] = {}

    def allocate(self, tokens: Sequence[int], most: int) -> Allocation | None:
        """Return the pages that the text shares, and new ones for the rest of it.

        Raises:
            UserError: the whole pool is too small for it.
        """
        # All that it may ever need: a prompt of 20 tokens and 30 new ones take 4 pages of 16 now.
        count = pages_for(most, self._page_size)
        # Not even an empty pool would do: to wait for room would be to wait for ever.
        if count > self._num_pages - RESERVED:
            raise exhausted(count, self._num_pages - RESERVED)
        # Sharing most is best, where it leaves enough pages for the rest of the text.
        for match in self._matches(tokens):
            pages = self._pages(match, count)
            if pages is not None:
                break
        else:
            return None
        # Now rather than at its end: the very next text may begin alike.
        if self._tree:
            self._tree.insert(tokens, pages)
        self._count(match, pages)
        return Allocation(
            pages=pages,
            cached_tokens=match.tokens,
            source=match.page,
            shared=len(match.pages),
        )

    def free(self, allocation: Allocation) -> None:
        """Release the text's pages; those that nobody else has are free again."""
        self._allocator.release(allocation.pages)
        for page in allocation.pages:
            self._texts_of_page[page] -= 1
            if not self._texts_of_page[page]:
                del self._texts_of_page[page]

    def slots(self) -> int:
        """Return the slots of the pages that texts have now, each page counted once."""
        return len(self._texts_of_page) * self._page_size

    def facts(self) -> dict[str, Any]:
        """Return counts of texts, of those that shared something, of tokens and of pages.

        `most_pages` is how many pages belonged to texts at the fullest moment, `pages` how many
        there are.
        """
        return {
            **self._counts,
            "page_size": self._page_size,
            "pages": self._num_pages - RESERVED,
            "most_pages": self._most_pages,
        }

    def _matches(self, tokens: Sequence[int]) -> list[Match]:
        """Return what may be taken over, the most first.

        Where the pool is small, the pages that the tree keeps for the first choice may be those
        that the text needs for itself; the next choice keeps fewer.
        """
        if not self._tree:
            return [NO_MATCH]
        best = self._tree.match(tokens)
        choices = [best]
        # Pages of 4, and 10 tokens are known: 10 with the copy of a page, else the 8 of two full
        # pages, else none. Without the copy nothing holds on to its source, which can then be
        # evicted.
        if best.page is not None:
            full_pages = len(best.pages) * self._page_size
            choices.append(Match(pages=best.pages, page=None, tokens=full_pages))
        if best.tokens > 0:
            choices.append(NO_MATCH)
        return choices

    def _pages(self, match: Match, count: int) -> tuple[int, ...] | None:
        """Return `count` pages: the match's full ones and new ones.

        It is null, and nothing is allocated, where too few are free.
        """
        borrowed = list(match.pages)
        if match.page is not None:
            borrowed.append(match.page)
        # Owned first: what is evicted next must not be one of these.
        self._allocator.share(borrowed)
        # A full page is shared and costs none; a copied one costs a page of the text's own.
        own = count - len(match.pages)
        if self._tree and own > self._allocator.free:
            self._tree.evict(own - self._allocator.free)
        if own > self._allocator.free:
            # Let go again: for the next choice these may be what is evicted.
            self._allocator.release(borrowed)
            return None
        pages = (*match.pages, *self._allocator.allocate(own))
        # The page to copy is read before anything that comes later is written.
        if match.page is not None:
            self._allocator.release([match.page])
        return pages

    def _count(self, match: Match, pages: Sequence[int]) -> None:
        self._counts["texts"] += 1
        self._counts["hits"] += match.tokens > 0
        self._counts["kept_tokens"] += match.tokens
        self._counts["shared_pages"] += len(match.pages)
        self._counts["copied_pages"] += match.page is not None
        for page in pages:
            self._texts_of_page[page] = self._texts_of_page.get(page, 0) + 1
        self._most_pages = max(self._most_pages, len(self._texts_of_page))


def cache_manager(spec: Fixed | Paged, *, rows: int, capacity: int, share: bool) -> CacheManager:
    """Return the manager of an empty cache.

    Args:
        spec: of the cache.
        rows: of the batch.
        capacity: slots of a row.
        share: whether texts share the pages that they begin with.
    """
    return _MANAGERS[type(spec)](spec, rows, capacity, share)


def _row_manager(spec: Fixed, rows: int, capacity: int, share: bool) -> RowManager:
    del share
    return RowManager(spec.reserved([capacity] * rows, capacity))


def _page_manager(spec: Paged, rows: int, capacity: int, share: bool) -> PageManager:
    return PageManager(spec, num_pages=spec.pool(rows, capacity), share=share)


_MANAGERS: dict[type, Callable[..., CacheManager]] = {
    Fixed: _row_manager,
    Paged: _page_manager,
}
