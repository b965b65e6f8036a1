"""Which pages hold how a text begins: a tree of token blocks on the host, free of jax.

A node is a page and the tokens in it; its ancestors hold what comes before. Only a full page can be shared. A page that
is partly filled, or with which a text agrees up to its middle, is copied, and the copy written from there on.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Self

from jaxgen.caches.page_allocator import PageAllocator

Block = tuple[int, ...]


@dataclasses.dataclass(eq=False)
class Node:
    """One page.

    Attributes:
        page: its number; -1 for the root, which has none.
        block: its tokens, as many as a page holds or, at the end of a prompt, fewer.
        parent: the page before it.
        children: the pages that come after it, by their tokens.
        used: when it was last looked up: a number that only rises.
    """

    page: int
    block: Block
    parent: Self | None
    children: dict[Block, "Node"] = dataclasses.field(default_factory=dict)
    used: int = 0


@dataclasses.dataclass(frozen=True)
class Match:
    """How a text begins like one before it.

    Attributes:
        pages: full pages to share, in their order.
        page: to copy; null where the next tokens are nobody's.
        tokens: that are known, those of `page` included.
    """

    pages: tuple[int, ...]
    page: int | None
    tokens: int


class PrefixTree:
    """Keeps the pages of prompts beyond the texts they came with, until somebody needs the room.

    Args:
        allocator: of the pool; the tree is one owner of each of its pages.
        page_size: tokens of a page.
    """

    def __init__(self, allocator: PageAllocator, page_size: int):
        self._allocator = allocator
        self._page_size = page_size
        self._root = Node(page=-1, block=(), parent=None)
        self._clock = itertools.count(1)

    def match(self, tokens: Sequence[int]) -> Match:
        """The longest known beginning, short of the last token: something must be computed to go on from."""
        now, node, pages = next(self._clock), self._root, []
        blocks = self._blocks(tokens[:-1])
        for block in blocks:
            child = node.children.get(block) if len(block) == self._page_size else None
            if child is None:
                break
            child.used, node = now, child
            pages.append(child.page)
        known = len(pages) * self._page_size
        rest = tuple(tokens[known:-1])
        likest = max(
            node.children.values(), key=lambda child: _common(child.block, rest), default=None
        )
        common = _common(likest.block, rest) if likest else 0
        if likest is None or not common:
            return Match(pages=tuple(pages), page=None, tokens=known)
        likest.used = now
        return Match(pages=tuple(pages), page=likest.page, tokens=known + common)

    def insert(self, tokens: Sequence[int], pages: Sequence[int]) -> None:
        """Remember the pages of a prompt; where a block is known, the known page stays."""
        now, node = next(self._clock), self._root
        for block, page in zip(self._blocks(tokens), pages, strict=False):
            if block not in node.children:
                node.children[block] = Node(page=page, block=block, parent=node)
                self._allocator.share([page])
            node = node.children[block]
            node.used = now

    def evict(self, count: int) -> None:
        """Let go of up to `count` pages that belong to no text, those first that were not asked for the longest."""
        while count > 0:
            idle = [node for node in self._leaves() if self._allocator.owners(node.page) == 1]
            if not idle:
                return
            oldest = min(idle, key=lambda node: node.used)
            assert oldest.parent is not None
            del oldest.parent.children[oldest.block]
            self._allocator.release([oldest.page])
            count -= 1

    def _blocks(self, tokens: Sequence[int]) -> list[Block]:
        size = self._page_size
        return [tuple(tokens[start : start + size]) for start in range(0, len(tokens), size)]

    def _leaves(self) -> list[Node]:
        waiting, found = [self._root], []
        while waiting:
            node = waiting.pop()
            waiting += node.children.values()
            if not node.children and node.parent is not None:
                found.append(node)
        return found


def _common(block: Block, tokens: Block) -> int:
    """How many tokens both begin with."""
    return sum(
        1
        for _ in itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(block, tokens, strict=False)
        )
    )
