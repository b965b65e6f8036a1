"""Scores: requests become batches before any clock, batches become probabilities; the query's prefix is reused."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxgen import caches
from jaxgen.caches.protocol import Cache
from jaxgen.engine.binders import bind
from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use
from jaxgen.engine.scoring import programs
from jaxgen.engine.scoring.request import Encoder, Request, Text, make_request
from jaxgen.engine.scoring.rows import Rows, make_rows, on_device, padded, width
from jaxgen.models.sharding import on_host

NO_PREFIX_CACHE = "this cache keeps nothing from call to call, so the query's prefix is computed again for every item"


@dataclasses.dataclass(frozen=True)
class Reuse:
    """How the items of a request came by their query.

    Attributes:
        hits: continued from the query's cache.
        misses: computed whole, because reuse is off, impossible, or the item adds no token to the query.
        fallbacks: computed whole, because the joint tokens do not begin with the query's: a merge across the border.
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
        reuse: how many items are which.
        note: why reuse that was asked for is impossible; null if it is not.
    """

    prefix: Prefix | None
    continued: tuple[Rows, ...]
    whole: tuple[Rows, ...]
    labels: Int[Array, "L"]
    apply_softmax: bool
    reuse: Reuse
    note: str | None


class Scorer:
    """Scores with an engine's weights, dtypes, cache kind and jit strategy. It owns no clock.

    Rows that are computed whole need no KV cache, as nothing is decoded after them: they run without one, whatever
    kind the arm has, and `dtype.kv` acts on a reused prefix alone.

    Attributes:
        engine: its weights at the time of each call are used.
        batch_size: items at a time.
        prefix_cache: compute the query once where items begin with it.

    Example:
        >>> scorer = Scorer(engine, batch_size=16)
        >>> prepared = scorer.prepare(request)
        >>> scores = scorer.results(prepared, scorer.call(prepared))
        >>> len(scores), len(scores[0])  # items, labels
        (2, 2)
    """

    def __init__(self, engine: Engine, *, batch_size: int = 16, prefix_cache: bool = True):
        self.engine = engine
        self.batch_size = batch_size
        self.prefix_cache = prefix_cache
        strategy = engine.run.jit.strategy
        bound = functools.partial(
            bind, strategy, blueprint=engine.blueprint, leaves=engine.leaves, donate=False
        )
        self._prefill = bound(programs.prefill_query)
        self._among_labels = bound(programs.score_labels)
        self._in_vocabulary = bound(programs.score_vocabulary)

    def prepare(self, request: Request, *, batch_size: int | None = None) -> Prepared:
        """Put a request on the device: everything that `call` needs; null takes the scorer's own batch size."""
        context = self.engine.blueprint.structure.architecture.context
        continued, whole, reuse = self._divided(request)
        start = len(request.query)
        make = functools.partial(
            make_rows, batch_size=batch_size or self.batch_size, layout=self.engine.layout
        )
        possible = caches.kind(self.engine.run.cache).incremental
        return Prepared(
            prefix=self._prefix(request.query) if continued else None,
            continued=make(
                {number: row[start:] for number, row in continued.items()}, longest=context - start
            ),
            whole=make(whole, longest=context),
            labels=on_device(np.array(request.labels, np.int32), self.engine.layout),
            apply_softmax=request.apply_softmax,
            reuse=reuse,
            note=NO_PREFIX_CACHE if self.prefix_cache and not possible else None,
        )

    def call(self, prepared: Prepared) -> tuple[Float[Array, "B L"], ...]:
        """The scores of each batch, still being computed when this returns; `prepared` is good for further calls."""
        program = self._among_labels if prepared.apply_softmax else self._in_vocabulary
        leaves, prefix, labels = self.engine.leaves, prepared.prefix, prepared.labels
        window = self.engine.blueprint.window
        scores = []
        if prefix is not None:
            kept = self._prefill(leaves, prefix.empty, prefix.query, prefix.length)
            scores += [
                program(leaves, kept, rows.tokens, rows.lengths, labels)
                for rows in prepared.continued
            ]
        scores += [
            program(leaves, rows.from_the_beginning(window), rows.tokens, rows.lengths, labels)
            for rows in prepared.whole
        ]
        return tuple(scores)

    def uses(self, prepared: Prepared) -> list[Use]:
        """The programs of `call`, in the order of their use, each once; the query's prefill is run for it."""
        program = self._among_labels if prepared.apply_softmax else self._in_vocabulary
        name = "score_labels" if prepared.apply_softmax else "score_vocabulary"
        leaves, prefix, found = self.engine.leaves, prepared.prefix, {}
        if prefix is not None:
            arguments = (leaves, prefix.empty, prefix.query, prefix.length)
            found["prefill"] = Use("prefill_query", self._prefill, arguments)
            kept = self._prefill(*arguments)
            for rows in prepared.continued:
                variant = f"continued_{_shape(rows)}"
                asked = (leaves, kept, rows.tokens, rows.lengths, prepared.labels)
                found.setdefault(variant, Use(name, program, asked, variant=variant))
        for rows in prepared.whole:
            empty = rows.from_the_beginning(self.engine.blueprint.window)
            asked = (leaves, empty, rows.tokens, rows.lengths, prepared.labels)
            found.setdefault(_shape(rows), Use(name, program, asked, variant=_shape(rows)))
        return list(found.values())

    def results(
        self, prepared: Prepared, scores: Sequence[Float[Array, "B L"]]
    ) -> list[list[float]]:
        """The scores of `call` as numbers: rows in the order of the items, columns in that of the labels."""
        by_item: dict[int, list[float]] = {}
        for rows, batch in zip((*prepared.continued, *prepared.whole), scores, strict=True):
            by_item.update(
                zip(rows.numbers, on_host(batch).tolist(), strict=False)
            )  # padding rows have no number
        return [by_item[number] for number in range(len(by_item))]

    def _divided(self, request: Request) -> tuple[dict, dict, Reuse]:
        """The rows by number: those that continue the query, those computed whole, and the count of each kind."""
        reusing = self.prefix_cache and not request.item_first and bool(request.query)
        reusing = reusing and caches.kind(self.engine.run.cache).incremental
        continued, whole, fallbacks = {}, {}, 0
        for number, row in enumerate(request.rows):
            begins = request.begins_with_query(row)
            if reusing and begins and len(row) > len(request.query):
                continued[number] = row
            else:
                whole[number] = row
                fallbacks += reusing and not begins
        return (
            continued,
            whole,
            Reuse(hits=len(continued), misses=len(whole) - fallbacks, fallbacks=fallbacks),
        )

    def _prefix(self, query: Sequence[int]) -> Prefix:
        """The cache holds the query alone: what items add is seen within their call and kept nowhere."""
        engine, layout = self.engine, self.engine.layout
        slots = width(len(query), longest=engine.blueprint.structure.architecture.context)
        empty = engine.new_cache(
            engine.run.cache, batch=1, capacity=slots, prompt=slots
        ).with_depth(slots)
        return Prefix(
            query=on_device(padded([query], count=1, width=slots), layout),
            length=on_device(np.array([len(query)], np.int32), layout),
            empty=jax.block_until_ready(
                jax.device_put(empty, jax.devices()[0]) if layout is None else empty
            ),
        )


def _shape(rows: Rows) -> str:
    return "x".join(map(str, rows.tokens.shape))


def score(
    scorer: Scorer,
    codec: Encoder,
    *,
    query: Text,
    items: Sequence[Text],
    label_token_ids: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    apply_softmax: bool = False,
    item_first: bool = False,
    tokenization: str = "joint",
) -> list[list[float]]:
    """The probability of each label right after the query and each item.

    Args:
        scorer: keeps the compiled programs between calls.
        codec: reads texts.
        query, items, label_token_ids, labels, apply_softmax, item_first, tokenization: see `make_request`.

    Returns:
        One row per item, one column per label, in their orders.

    Raises:
        UserError: the request cannot be scored.
    """
    engine = scorer.engine
    request = make_request(
        query,
        items,
        codec=codec,
        architecture=engine.blueprint.structure.architecture,
        cache=engine.run.cache,
        label_token_ids=label_token_ids,
        labels=labels,
        apply_softmax=apply_softmax,
        item_first=item_first,
        tokenization=tokenization,
    )
    prepared = scorer.prepare(request)
    return scorer.results(prepared, scorer.call(prepared))
