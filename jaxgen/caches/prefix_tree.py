"""Which pages hold how a text begins: a tree of token blocks on the host, free of jax.

A node is a page and the tokens in it; its ancestors hold what comes before. Only a full page can be
shared. A page that is partly filled, or with which a text agrees up to its middle, is copied, and
the copy is written from there on.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Self

from jaxgen.caches.page_allocator import PageAllocator

TokenBlock = tuple[int, ...]


@dataclasses.dataclass(eq=False)
class Node:
    """One page.

    Attributes:
        page: its number; -1 for the root, which has none.
        block: its tokens, as many as a page holds or, at the end of a prompt, fewer.
        parent: the page before it.
        children: the pages that come after it, by their tokens.
        last_use: when it was last looked up: a number that only rises.
    """

    page: int
    block: TokenBlock
    parent: Self | None
    children: dict[TokenBlock, "Node"] = dataclasses.field(default_factory=dict)
    last_use: int = 0


@dataclasses.dataclass(frozen=True)
class Match:
    """How much of a text's beginning is in pages already.

    Attributes:
        pages: full pages to share, in their order.
        page: a page to copy; null where no page holds any of the tokens that come next.
        tokens: how many tokens these pages hold, those of `page` included.
    """

    pages: tuple[int, ...]
    page: int | None
    tokens: int


class PrefixTree:
    """Keeps the pages of prompts beyond the texts they came with, until their room is needed.

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
        """Find the longest beginning of a text that is in pages already.

        It is short of the last token: something must be computed to go on from.
        """
        now = next(self._clock)
        node = self._root
        pages = []
        # Full pages, as far as they agree with the text.
        for block in self._blocks(tokens[:-1]):
            child = node.children.get(block) if len(block) == self._page_size else None
            if child is None:
                break
            child.last_use = now
            pages.append(child.page)
            node = child
        matched = len(pages) * self._page_size
        # Then the page that agrees with the rest up to its middle, to be copied.
        # Pages of 4, ABCD and EFGH are known, the text is ABCDEFXY: the first page is shared, the
        # second copied for its EF, and 6 tokens need no prefill.
        rest = tuple(tokens[matched:-1])
        best, common = _most_common(node, rest)
        if best is None:
            return Match(pages=tuple(pages), page=None, tokens=matched)
        best.last_use = now
        return Match(pages=tuple(pages), page=best.page, tokens=matched + common)

    def insert(self, tokens: Sequence[int], pages: Sequence[int]) -> None:
        """Remember the pages of a prompt; where a block has a page already, that page stays."""
        now = next(self._clock)
        node = self._root
        # There are more pages than blocks: the others are for tokens that are yet to come.
        for block, page in zip(self._blocks(tokens), pages, strict=False):
            # Two texts may bring the same block; only the first one's page is remembered.
            if block not in node.children:
                node.children[block] = Node(page=page, block=block, parent=node)
                self._allocator.share([page])
            node = node.children[block]
            node.last_use = now

    def evict(self, count: int) -> None:
        """Let go of up to `count` pages that belong to no text, the longest unused ones first."""
        while count > 0:
            # Leaves alone: a page in the middle is of no use without those before it.
            # Looked for anew each time: the page before one that went may be a leaf now. With the
            # tree as its only owner no text reads it.
            idle = [node for node in self._leaves() if self._allocator.owners(node.page) == 1]
            if not idle:
                return
            oldest = min(idle, key=lambda node: node.last_use)
            assert oldest.parent is not None
            del oldest.parent.children[oldest.block]
            self._allocator.release([oldest.page])
            count -= 1

    def _blocks(self, tokens: Sequence[int]) -> list[TokenBlock]:
        size = self._page_size
        return [tuple(tokens[start : start + size]) for start in range(0, len(tokens), size)]

    def _leaves(self) -> list[Node]:
        # No recursion: a branch is as deep as a text has pages, perhaps deeper than Python allows.
        waiting = [self._root]
        leaves = []
        while waiting:
            node = waiting.pop()
            waiting += node.children.values()
            if not node.children and node.parent is not None:
                leaves.append(node)
        return leaves


def _most_common(node: Node, tokens: TokenBlock) -> tuple[Node | None, int]:
    """Return the child that begins most like `tokens`, and how many tokens they share; or none."""
    best, most = None, 0
    for child in node.children.values():
        common = _common_length(child.block, tokens)
        if common > most:
            best, most = child, common
    return best, most


def _common_length(block: TokenBlock, tokens: TokenBlock) -> int:
    """Return how many tokens both begin with."""
    length = 0
    for one, other in zip(block, tokens, strict=False):
        if one != other:
            break
        length += 1
    return length
