"""The scoring workload: every item against every label, as one request, or as a grid of requests."""

import dataclasses
import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen import caches
from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use
from jaxgen.engine.scoring.request import Request, make_request, tokens_of
from jaxgen.engine.scoring.scorer import Prepared, Scorer
from jaxgen.measure import byte_counts, roofline
from jaxgen.measure.roofline import Step
from jaxgen.specs.score import Score
from jaxgen.workloads import cost
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.protocol import Case, Row

METRICS: dict[str, dict[str, str]] = {
    "items_per_s": {"unit": "items/s", "better": "higher"},
    "latency_s": {"unit": "s", "better": "lower"},
}
"""What a trial yields; the first is the one that the verdict is about."""


@dataclasses.dataclass(frozen=True)
class Timed:
    """One request from its tokens on the device to its scores there.

    Attributes:
        latency_s: of the whole request.
        items: scored.
        scores: of each batch.
    """

    latency_s: float
    items: int
    scores: tuple[jax.Array, ...]


class Scoring:
    """Scores; the run's prompts are not used.

    Args:
        engine: the arm's.
        codec: of the arm's checkpoint.
        faults: what is wrong with the arm on purpose, if anything.

    Raises:
        UserError: the request cannot be scored by this model.
    """

    def __init__(self, engine: Engine, codec: Codec, *, faults: Faults):
        work = _spec(engine)
        self._engine = engine
        self._faults = faults
        self._codec = codec
        self.metrics = METRICS
        grid = _grid(work)
        self.cases = tuple(
            Case(dict(zip(("batch_size", "num_labels"), point, strict=True))) for point in grid
        ) or (Case(),)
        points = grid or [(None, None)]
        self._requests = [
            _request(engine, codec, items=items, labels=labels) for items, labels in points
        ]
        self._scorer = Scorer(engine, batch_size=work.batch_size, prefix_cache=work.prefix_cache)
        self._prepared = [
            self._scorer.prepare(request, batch_size=items)
            for (items, _), request in zip(points, self._requests, strict=True)
        ]
        prefixes = [prepared.prefix for prepared in self._prepared if prepared.prefix is not None]
        self.kv_cache_bytes = cost.bytes_of(prefixes[0].empty) if prefixes else 0

    def questions(self) -> list[Any]:
        """The tokens of every row and label of every case."""
        return [
            [[list(row) for row in request.rows], list(request.labels)]
            for request in self._requests
        ]

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """One request like the trials'; nothing is generated that could be shorter."""
        del new_tokens
        self.call(case)

    def call(self, case: int) -> Timed:
        """One request. The clock runs until all scores are ready."""
        faults, prepared = self._faults, self._prepared[case]
        began_s, start = time.perf_counter(), faults.clock()
        scores = self._scorer.call(prepared)
        faults.after_call(scores, began_s)
        jax.block_until_ready(scores)
        return Timed(
            latency_s=faults.clock() - start, items=len(self._requests[case].rows), scores=scores
        )

    def seconds(self, call: Timed) -> float:
        """How long one call took, by the arm's clock."""
        return call.latency_s

    def measured(self, calls: Sequence[Timed]) -> dict[str, float | None]:
        """`items_per_s` is all items over all time; `latency_s` the mean of the requests."""
        total_s = sum(call.latency_s for call in calls)
        return {
            "items_per_s": sum(call.items for call in calls) / total_s,
            "latency_s": total_s / len(calls),
        }

    def answers(self, case: int, call: Timed) -> list[Row]:
        """One row per item: `{index, item, label_token_ids, scores}`; a score that is no number is null."""
        request = self._requests[case]
        scores = self._scorer.results(self._prepared[case], call.scores)
        return [
            {
                "index": number,
                "item": self._item(request, number),
                "label_token_ids": list(request.labels),
                "scores": [
                    score if math.isfinite(score) else None
                    for score in (self._faults.scored(row) if number == 0 else row)
                ],
            }
            for number, row in enumerate(scores)
        ]

    def facts(self, case: int, call: Timed, rows: Sequence[Row]) -> dict[str, Any]:
        """How the items came by the query, and what the request was."""
        del call, rows
        prepared, request = self._prepared[case], self._requests[case]
        tokens = max(prepared.reuse.hits - 1, 0) * len(
            request.query
        )  # that did not go through the model again
        saved = {"saved_tokens": tokens, "saved_bytes": tokens * cost.token_bytes(self._engine)}
        return {
            "prefix": {**dataclasses.asdict(prepared.reuse), **saved, "note": prepared.note},
            "items": len(request.rows),
            "labels": len(request.labels),
            "query_tokens": len(request.query),
            "longest_row_tokens": max(map(len, request.rows)),
        }

    def limits(self, case: int) -> tuple[int, ...]:
        """Nothing is generated."""
        del case
        return ()

    def capture(self, case: int, path: Path) -> None:
        """Nothing: activations are kept of generation alone."""
        del case, path

    def programs(self, case: int) -> list[Use]:
        """What the request of a case runs."""
        return self._scorer.uses(self._prepared[case])

    def steps(self, case: int, rows: Sequence[Row] = ()) -> dict[str, Step | None]:
        """All the work of one request, behind `latency_s`."""
        del rows
        return {"latency_s": _work(self._engine, self._prepared[case])}

    def last_step(self, case: int) -> None:
        """Unknown: a request is as many programs as its items have shapes."""
        del case

    def _item(self, request: Request, number: int) -> str | list[int]:
        work = _spec(self._engine)
        if not work.item_tokens:
            given = work.items[number % len(work.items)]
            return given if isinstance(given, str) else list(given)
        row, query = request.rows[number], len(request.query)
        return list(row[: len(row) - query] if request.item_first else row[query:])


def _spec(engine: Engine) -> Score:
    assert isinstance(engine.run.workload, Score)
    return engine.run.workload


def _grid(work: Score) -> list[tuple[int, int]]:
    """Every (items, labels) that is a case of its own; none without a grid."""
    if not (work.batch_sizes or work.num_labels):
        return []
    labels = len(work.label_token_ids or work.labels or ())
    return list(
        itertools.product(work.batch_sizes or (len(work.items),), work.num_labels or (labels,))
    )


def _request(engine: Engine, codec: Codec, *, items: int | None, labels: int | None) -> Request:
    """The request as it was given, or one of the grid: so many items, against so many labels."""
    work, architecture = _spec(engine), engine.blueprint.structure.architecture
    query, given = work.query, work.items
    if work.item_tokens:
        query = tokens_of(codec, query) if isinstance(query, str) else query
        rng = np.random.default_rng(0)
        count = items or len(given)
        given = tuple(
            map(tuple, rng.integers(0, architecture.vocab_size, (count, work.item_tokens)).tolist())
        )
    elif items is not None:
        given = tuple(itertools.islice(itertools.cycle(given), items))
    ids = work.label_token_ids
    if (
        work.num_labels and labels is not None
    ):  # evenly through the vocabulary: which ids they are changes no time
        ids = tuple(number * architecture.vocab_size // labels for number in range(labels))
    return make_request(
        query,
        given,
        codec=codec,
        architecture=architecture,
        cache=engine.run.cache,
        label_token_ids=ids,
        labels=None if ids is not None else work.labels,
        apply_softmax=work.apply_softmax,
        item_first=work.item_first,
        tokenization=work.tokenization.value,
    )


def _work(engine: Engine, prepared: Prepared) -> Step:
    """What a device must move and compute for a request: the query once, where it is reused, and each batch of rows."""
    architecture = engine.cut.part(engine.blueprint.structure.architecture)
    element = byte_counts.ElementBytes.of(engine.run.dtype, architecture)
    incremental = caches.kind(engine.run.cache).incremental
    heads = len(prepared.labels) if prepared.apply_softmax else None
    steps, before = [], 0
    if prepared.prefix is not None:
        before = prepared.prefix.query.shape[1]
        slots = engine.run.cache.reserved([before], before)
        whole = {
            "rows": 1,
            "tokens": before,
            "depth": before,
            "kept": incremental,
            "logits": 0,
            "slots": slots,
        }
        steps.append(roofline.forward(architecture, element, **whole))
        before = min(before, slots)
        read = before * cost.token_bytes(
            engine, architecture
        )  # each batch of continued rows reads the query's slots
        steps += [Step(nbytes=read, flops=0.0)] * len(prepared.continued)
    for rows, start in [
        *((rows, before) for rows in prepared.continued),
        *((rows, 0) for rows in prepared.whole),
    ]:
        count, tokens = rows.tokens.shape
        shape = {
            "rows": count // engine.cut.batch,
            "tokens": tokens,
            "depth": start + tokens,
            "kept": False,
            "logits": heads,
        }
        steps.append(roofline.forward(architecture, element, **shape))
    return Step(nbytes=sum(step.nbytes for step in steps), flops=sum(step.flops for step in steps))
