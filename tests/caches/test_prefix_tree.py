"""Which pages texts share, on the host alone: nothing is lost, nothing is given away twice."""

import numpy as np
import pytest

from jaxgen.caches.admission import PageManager
from jaxgen.caches.page_allocator import PageAllocator
from jaxgen.caches.prefix_tree import PrefixTree
from jaxgen.errors import UserError
from jaxgen.specs.cache import Paged


@pytest.fixture
def allocator():
    return PageAllocator(12)


@pytest.fixture
def tree(allocator):
    """Pages of four tokens; one prompt of ten is known."""
    made = PrefixTree(allocator, 4)
    made.insert(range(10), allocator.allocate(3))
    return made


@pytest.mark.parametrize(
    ("tokens", "pages", "page", "known"),
    [
        ((*range(8), 50, 51), (1, 2), None, 8),
        ((*range(6), 50, 51), (1,), 2, 6),
        (range(10), (1, 2), 3, 9),  # the last token is computed again
        (range(8), (1,), 2, 7),
        ((50, 51), (), None, 0),
        ((0,), (), None, 0),
        (range(12), (1, 2), 3, 10),
    ],
    ids=[
        "two pages",
        "a page and a half",
        "the same again",
        "full pages",
        "another",
        "one token",
        "a longer one",
    ],
)
def test_what_is_known_of_a_text(tokens, pages, page, known, tree):
    match = tree.match(list(tokens))
    assert (match.pages, match.page, match.tokens) == (pages, page, known)


def test_a_known_page_stays_and_has_one_owner_more(tree, allocator):
    assert [allocator.owners(page) for page in (1, 2, 3)] == [2, 2, 2]
    tree.insert([*range(4), 60, 61], [1, *allocator.allocate(1)])
    assert [allocator.owners(page) for page in (1, 2, 3, 4)] == [2, 2, 2, 2]


def test_only_pages_of_no_text_are_evicted_the_oldest_first(tree, allocator):
    tree.insert([70, 71], allocator.allocate(1))
    tree.evict(9)
    assert allocator.free == 7
    allocator.release([1, 2, 3, 4])
    tree.match([*range(10)])
    tree.evict(1)
    assert allocator.owners(4) == 0
    tree.evict(9)
    assert allocator.free == 11


class TestPageManager:
    def test_a_text_gets_pages_for_all_that_it_may_become(self):
        manager = PageManager(Paged(page_size=4), num_pages=6, share=False)
        first = manager.allocate([1, 2, 3], 12)
        assert (first.pages, first.cached_tokens, first.source) == ((1, 2, 3), 0, None)
        assert manager.allocate([1, 2, 3], 12) is None
        manager.free(first)
        assert manager.allocate([1, 2, 3], 20).pages == (3, 2, 1, 4, 5)
        assert manager.facts()["most_pages"] == 5

    def test_one_text_too_large_is_told_at_once(self):
        with pytest.raises(UserError, match=r"needs 6 pages, 5 free: raise cache\.num_pages"):
            PageManager(Paged(page_size=4), num_pages=6, share=False).allocate([1], 21)

    def test_shared_pages_are_counted_and_outlive_their_text(self):
        manager = PageManager(Paged(page_size=4), num_pages=9, share=True)
        first = manager.allocate(range(10), 12)
        second = manager.allocate([*range(9), 90], 12)
        assert (second.pages[:2], second.cached_tokens, second.source, second.shared) == (
            first.pages[:2],
            9,
            first.pages[2],
            2,
        )
        assert second.pages[2] not in first.pages
        manager.free(first)
        manager.free(second)
        assert manager.allocate([*range(8), 91], 9).cached_tokens == 8
        facts = manager.facts()
        assert (facts["texts"], facts["hits"], facts["shared_pages"], facts["copied_pages"]) == (
            3,
            2,
            4,
            1,
        )

    def test_known_pages_make_room_where_there_is_none_left(self):
        manager = PageManager(Paged(page_size=4), num_pages=5, share=True)
        manager.free(manager.allocate(range(16), 16))
        assert len(manager.allocate(range(100, 110), 16).pages) == 4

    def test_a_page_to_copy_is_given_up_where_it_is_in_the_way(self):
        manager = PageManager(Paged(page_size=4), num_pages=4, share=True)
        manager.free(manager.allocate(range(10), 12))
        again = manager.allocate([*range(9), 50], 12)
        assert (again.shared, again.cached_tokens, again.source) == (2, 8, None)

    @pytest.mark.parametrize("seed", range(5))
    def test_no_page_is_written_by_two_texts(self, seed):
        """Let texts that begin alike come and go: what one writes is in no other's pages."""
        random = np.random.default_rng(seed)
        manager = PageManager(Paged(page_size=4), num_pages=40, share=True)
        going = []
        for _ in range(300):
            tokens = [0] * int(random.integers(0, 12)) + random.integers(
                0, 2, random.integers(1, 8)
            ).tolist()
            room = manager.allocate(tokens, len(tokens) + 5)
            if room is not None:
                own = set(room.pages[room.cached_tokens // 4 :])
                assert not any(own & set(other.pages) for other in going)
                assert room.cached_tokens < len(tokens)
                going.append(room)
            if room is None or random.random() < 0.4:
                manager.free(going.pop(int(random.integers(len(going)))))
        for room in going:
            manager.free(room)
        assert manager.slots() == 0
