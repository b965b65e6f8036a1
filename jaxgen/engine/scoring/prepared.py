"""A request for scores on the device, and which of its items reuse the query's cache."""

import dataclasses

from jaxtyping import Array, Int

from jaxgen.caches.protocol import Cache
from jaxgen.engine.scoring.request import ScoreRequest
from jaxgen.engine.scoring.rows import RowBatch

NO_PREFIX_CACHE = (
    "this cache keeps nothing from call to call, so the query's prefix is computed again for every "
    "item"
)

# By number: rows are sorted by length later, and scores go back to their items.
Rows = dict[int, tuple[int, ...]]
"""Tokens of rows by their number."""


@dataclasses.dataclass(frozen=True)
class Reuse:
    """How the items of a request came by their query.

    Attributes:
        hits: continued from the query's cache.
        misses: computed whole, because reuse is off, impossible, or the item adds no token to the
            query.
        fallbacks: computed whole, because the joint tokens do not begin with the query's: a merge
            across the border.
    """

    hits: int
    misses: int
    fallbacks: int


@dataclasses.dataclass(frozen=True)
class Prefix:
    """The query, right-padded, and the empty cache of one row that it goes into; never donated."""

    query: Int[Array, "1 T"]
    length: Int[Array, "1"]
    empty: Cache


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A request on the device.

    Attributes:
        prefix: null where no item reuses it.
        continued: batches of what items add to the query.
        whole: batches of query and item together.
        labels: token ids.
        apply_softmax: probabilities among the labels; else over the whole vocabulary.
        reuse: how many items are which.
        note: why reuse that the user wanted is impossible; null if it is not.
    """

    prefix: Prefix | None
    continued: tuple[RowBatch, ...]
    whole: tuple[RowBatch, ...]
    labels: Int[Array, "L"]
    apply_softmax: bool
    reuse: Reuse
    note: str | None


def divide(request: ScoreRequest, *, can_reuse: bool) -> tuple[Rows, Rows, Reuse]:
    """Divide the rows of a request into those that continue the query's cache and the others.

    Args:
        request: checked and tokenised.
        can_reuse: the cache keeps the query, and the user wants that.

    Returns:
        The rows that continue the query, those computed whole, and the count of each kind.
    """
    # With the item first the rows have no common beginning.
    can_reuse = can_reuse and not request.item_first and bool(request.query)
    continued: Rows = {}
    whole: Rows = {}
    fallbacks = 0
    for number, row in enumerate(request.rows):
        # A row without tokens of its own would leave nothing to feed behind the cached query.
        begins = request.begins_with_query(row)
        if can_reuse and begins and len(row) > len(request.query):
            continued[number] = row
            continue
        whole[number] = row
        if can_reuse and not begins:
            fallbacks += 1
    misses = len(whole) - fallbacks
    return (
        continued,
        whole,
        Reuse(
            hits=len(continued),
            misses=misses,
            fallbacks=fallbacks,
        ),
    )
