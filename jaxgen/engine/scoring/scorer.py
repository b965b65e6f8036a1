"""Scores: requests become batches before any clock, batches become probabilities.

Where items begin with the query, its part of the cache is computed once and read by all of them.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxgen import caches
from jaxgen.caches.protocol import Cache
from jaxgen.engine.binders import Bound, bind
from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use
from jaxgen.engine.right_padding import right_padded
from jaxgen.engine.scoring import programs
from jaxgen.engine.scoring.prepared import (
    NO_PREFIX_CACHE,
    Prefix,
    Prepared,
    divide,
)
from jaxgen.engine.scoring.request import ScoreRequest
from jaxgen.engine.scoring.rows import (
    RowBatch,
    make_row_batches,
    on_device,
    row_width,
)
from jaxgen.models.sharding import on_host


class Scorer:
    """Scores with an engine's weights, dtypes, cache kind and jit strategy. It owns no clock.

    Rows that are computed whole need no KV cache, as nothing is decoded after them: they run
    without one, whatever kind the arm has, and `dtype.kv` acts on a reused prefix alone.

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

    def __init__(
        self,
        engine: Engine,
        *,
        batch_size: int = 16,
        prefix_cache: bool = True,
    ):
        self.engine = engine
        self.batch_size = batch_size
        self.prefix_cache = prefix_cache
        self._can_reuse = caches.kind(engine.run.cache).incremental
        # Nothing is donated: every batch of rows reads the same prefix.
        bind_program = functools.partial(
            bind,
            engine.run.jit.strategy,
            blueprint=engine.blueprint,
            leaves=engine.leaves,
            donate=False,
        )
        self._prefill = bind_program(programs.prefill_query)
        self._among_labels = bind_program(programs.score_labels)
        self._in_vocabulary = bind_program(programs.score_vocabulary)

    def prepare(
        self,
        request: ScoreRequest,
        *,
        batch_size: int | None = None,
    ) -> Prepared:
        """Put a request on the device: everything that `call` needs.

        Args:
            request: checked and tokenised.
            batch_size: items at a time; null takes the scorer's own.
        """
        context = self.engine.blueprint.structure.architecture.context
        continued, whole, reuse = divide(
            request,
            can_reuse=self.prefix_cache and self._can_reuse,
        )
        start = len(request.query)
        added = {}
        for number, row in continued.items():
            added[number] = row[start:]
        make_batches = functools.partial(
            make_row_batches,
            batch_size=batch_size or self.batch_size,
            layout=self.engine.layout,
        )
        return Prepared(
            prefix=self._prefix(request.query) if continued else None,
            # The query takes its part of the context, and leaves the items the rest.
            continued=make_batches(added, longest=context - start),
            whole=make_batches(whole, longest=context),
            labels=on_device(
                np.array(request.labels, np.int32),
                self.engine.layout,
            ),
            apply_softmax=request.apply_softmax,
            reuse=reuse,
            note=NO_PREFIX_CACHE if self.prefix_cache and not self._can_reuse else None,
        )

    def call(self, prepared: Prepared) -> tuple[Float[Array, "B L"], ...]:
        """Return the scores of each batch, still being computed when this returns.

        Args:
            prepared: is good for further calls.
        """
        program = self._program(prepared)
        leaves = self.engine.leaves
        scores = []
        # Nothing is waited for: the host dispatches the next batch while the device computes.
        for cache, batch in self._batches(prepared):
            scores.append(
                program(
                    leaves,
                    cache,
                    batch.tokens,
                    batch.lengths,
                    prepared.labels,
                )
            )
        return tuple(scores)

    def uses(self, prepared: Prepared) -> list[Use]:
        """Return the programs of `call`, in the order of their use, each once.

        The query's prefill is run for it: the others' arguments have its cache among them.
        """
        program = self._program(prepared)
        leaves = self.engine.leaves
        name = "score_labels" if prepared.apply_softmax else "score_vocabulary"
        uses: dict[str, Use] = {}
        if prepared.prefix is not None:
            arguments = self._prefill_arguments(prepared.prefix)
            uses["prefill"] = Use("prefill_query", self._prefill, arguments)
        for number, (cache, batch) in enumerate(self._batches(prepared)):
            # Rows of the same shape are the same program, and are listed once.
            variant = "x".join(map(str, batch.tokens.shape))
            if number < len(prepared.continued):
                variant = f"continued_{variant}"
            arguments = (
                leaves,
                cache,
                batch.tokens,
                batch.lengths,
                prepared.labels,
            )
            uses.setdefault(
                variant,
                Use(name, program, arguments, variant=variant),
            )
        return list(uses.values())

    def results(
        self,
        prepared: Prepared,
        scores: Sequence[Float[Array, "B L"]],
    ) -> list[list[float]]:
        """Return the scores of `call` as numbers.

        Args:
            prepared: as it was given to `call`.
            scores: of each batch.

        Returns:
            Rows in the order of the items, columns in that of the labels.
        """
        # Batches are in the order of lengths, items in the order of the request.
        by_item: dict[int, list[float]] = {}
        batches = (*prepared.continued, *prepared.whole)
        for batch, of_batch in zip(batches, scores, strict=True):
            # Padding rows have no number.
            by_item.update(
                zip(
                    batch.numbers,
                    on_host(of_batch).tolist(),
                    strict=False,
                )
            )
        return [by_item[number] for number in range(len(by_item))]

    def _program(self, prepared: Prepared) -> Bound:
        if prepared.apply_softmax:
            return self._among_labels
        return self._in_vocabulary

    def _batches(self, prepared: Prepared) -> Iterator[tuple[Cache, RowBatch]]:
        """Each batch of rows with the cache that it reads: the query's, or an empty one."""
        if prepared.prefix is not None:
            # The query is computed once for all batches that continue it.
            cache = self._prefill(*self._prefill_arguments(prepared.prefix))
            for batch in prepared.continued:
                yield cache, batch
        for batch in prepared.whole:
            yield (
                batch.empty_cache(self.engine.blueprint.window),
                batch,
            )

    def _prefill_arguments(self, prefix: Prefix) -> tuple:
        return (
            self.engine.leaves,
            prefix.empty,
            prefix.query,
            prefix.length,
        )

    def _prefix(self, query: Sequence[int]) -> Prefix:
        """The query and its empty cache: what items add is seen in their call, and kept nowhere."""
        engine, layout = self.engine, self.engine.layout
        # Queries of similar lengths have one width, and so one program.
        slots = row_width(
            len(query),
            longest=engine.blueprint.structure.architecture.context,
        )
        empty = engine.new_cache(
            engine.run.cache,
            batch=1,
            capacity=slots,
            prompt=slots,
        )
        # The depth is static: rows that continue the query read these slots and no more.
        empty = empty.with_depth(slots)
        if layout is None:
            empty = jax.device_put(empty, jax.devices()[0])
        return Prefix(
            query=on_device(right_padded([query], count=1, width=slots), layout),
            length=on_device(np.array([len(query)], np.int32), layout),
            empty=jax.block_until_ready(empty),
        )
