"""Who may write where in a cache whose rows are given to one text after the other: decided on the host, free of jax."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from jaxgen.caches.page_allocator import RESERVED, PageAllocator, exhausted, pages_for
from jaxgen.caches.prefix_tree import Match, PrefixTree
from jaxgen.specs.cache import Fixed, Paged

NOTHING = Match(pages=(), page=None, tokens=0)


@dataclasses.dataclass(frozen=True)
class Room:
    """What one text gets.

    Attributes:
        pages: that it owns alone or with others, in the order of its positions.
        kept: tokens at its beginning that these hold already.
        source: the page whose content its first own page begins with; null where nothing is copied.
        shared: how many of `pages` it did not have to allocate.
    """

    pages: tuple[int, ...] = ()
    kept: int = 0
    source: int | None = None
    shared: int = 0


class Rooms(Protocol):
    """Gives rooms away and takes them back."""

    def take(self, tokens: Sequence[int], most: int) -> Room | None:
        """Room for a text that begins with `tokens` and may become `most` long; null while there is none."""
        ...

    def give_back(self, room: Room) -> None:
        """The text has ended."""
        ...

    def slots(self) -> int:
        """That nobody else can have now."""
        ...

    def facts(self) -> dict[str, Any]:
        """What was taken so far, as plain data."""
        ...


class FixedRooms:
    """Every row has all the slots it can ever need, whether it has a text or not.

    Args:
        slots: of all rows.
    """

    def __init__(self, slots: int):
        self._slots = slots

    def take(self, tokens: Sequence[int], most: int) -> Room:
        """Nothing to decide."""
        del tokens, most
        return Room()

    def give_back(self, room: Room) -> None:
        """Nothing to do."""
        del room

    def slots(self) -> int:
        """All of them."""
        return self._slots

    def facts(self) -> dict[str, Any]:
        """Nothing beyond what the batch says."""
        return {}


class PageRooms:
    """Pages for the whole of a text are taken when it begins, so that no text is ever driven out half-way.

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
        self._most_used = 0
        self._held: dict[int, int] = {}

    def take(self, tokens: Sequence[int], most: int) -> Room | None:
        """The pages that the text shares, and new ones for the rest of it.

        Raises:
            UserError: the whole pool is too small for it.
        """
        whole = pages_for(most, self._page_size)
        if whole > self._num_pages - RESERVED:
            raise exhausted(whole, self._num_pages - RESERVED)
        for match in self._matches(tokens):
            pages = self._pages(match, whole)
            if pages is not None:
                break
        else:
            return None
        if self._tree:
            self._tree.insert(tokens, pages)
        self._count(match, pages)
        return Room(pages=pages, kept=match.tokens, source=match.page, shared=len(match.pages))

    def give_back(self, room: Room) -> None:
        """Pages that nobody else has are free again."""
        self._allocator.release(room.pages)
        for page in room.pages:
            self._held[page] -= 1
            if not self._held[page]:
                del self._held[page]

    def slots(self) -> int:
        """Of the pages that texts have now, each counted once."""
        return len(self._held) * self._page_size

    def facts(self) -> dict[str, Any]:
        """Counts of texts, of those that shared something, of tokens and pages; `most_pages` is how many belonged to
        texts at the fullest moment, `pages` how many there are."""
        return {
            **self._counts,
            "page_size": self._page_size,
            "pages": self._num_pages - RESERVED,
            "most_pages": self._most_used,
        }

    def _matches(self, tokens: Sequence[int]) -> Iterator[Match]:
        """What may be taken over, the most first: where the pool is small, what is kept for it may be in the way."""
        if self._tree:
            best = self._tree.match(tokens)
            yield best
            if best.page is not None:
                yield Match(pages=best.pages, page=None, tokens=len(best.pages) * self._page_size)
            if best.tokens == 0:
                return
        yield NOTHING

    def _pages(self, match: Match, whole: int) -> tuple[int, ...] | None:
        """The match's full pages, and as many new ones as are missing; null, and nothing is taken, where too few are
        free."""
        borrowed = [*match.pages, *([] if match.page is None else [match.page])]
        self._allocator.share(borrowed)  # first: what is evicted next must not be one of these
        own = whole - len(match.pages)
        if self._tree and own > self._allocator.free:
            self._tree.evict(own - self._allocator.free)
        if own > self._allocator.free:
            self._allocator.release(borrowed)
            return None
        pages = (*match.pages, *self._allocator.allocate(own))
        if match.page is not None:
            self._allocator.release(
                [match.page]
            )  # it is read before anything that comes later is written
        return pages

    def _count(self, match: Match, pages: Sequence[int]) -> None:
        self._counts["texts"] += 1
        self._counts["hits"] += match.tokens > 0
        self._counts["kept_tokens"] += match.tokens
        self._counts["shared_pages"] += len(match.pages)
        self._counts["copied_pages"] += match.page is not None
        for page in pages:
            self._held[page] = self._held.get(page, 0) + 1
        self._most_used = max(self._most_used, len(self._held))


def rooms(spec: Fixed | Paged, *, rows: int, capacity: int, share: bool) -> Rooms:
    """All the room in an empty cache of `rows` rows of `capacity` slots."""
    if isinstance(spec, Paged):
        return PageRooms(spec, num_pages=spec.pool(rows, capacity), share=share)
    return FixedRooms(spec.reserved([capacity] * rows, capacity))
