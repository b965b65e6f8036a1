"""The scoring workload: every item against every label, as one request or a grid of them."""

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use
from jaxgen.engine.scoring.scorer import Scorer
from jaxgen.measure.roofline import Step
from jaxgen.workloads import cost
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.protocol import Case, OutputRow
from jaxgen.workloads.score_cost import request_step
from jaxgen.workloads.score_inputs import (
    grid_of,
    item_of,
    request_of,
    score_spec,
)

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
        inside_s: the same by the true clock, whatever the arm's own says.
        items: scored.
        scores: of each batch.
    """

    latency_s: float
    inside_s: float
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
        spec = score_spec(engine)
        self._engine = engine
        self._faults = faults
        self.metrics = METRICS
        grid = grid_of(spec)
        cases = [Case({"batch_size": items, "num_labels": labels}) for items, labels in grid]
        self.cases = tuple(cases) or (Case(),)
        # Bound once for all cases: cases of the same shapes share their programs.
        self._scorer = Scorer(
            engine,
            batch_size=spec.batch_size,
            prefix_cache=spec.prefix_cache,
        )
        self._requests, self._prepared = [], []
        # Without a grid there is one request, as it is written.
        for items, labels in grid or [(None, None)]:
            request = request_of(engine, codec, items=items, labels=labels)
            self._requests.append(request)
            self._prepared.append(self._scorer.prepare(request, batch_size=items))
        # The cache of the first case; cases differ in items and labels, not in the query.
        prefixes = []
        for prepared in self._prepared:
            if prepared.prefix is not None:
                prefixes.append(prepared.prefix)
        self.kv_cache_bytes = cost.bytes_of(prefixes[0].empty) if prefixes else 0

    def inputs(self) -> list[Any]:
        """Return the tokens of every row and label of every case."""
        inputs = []
        for request in self._requests:
            inputs.append(
                [
                    [list(row) for row in request.rows],
                    list(request.labels),
                ]
            )
        return inputs

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """Score one request like the trials'; nothing is generated that could be shorter."""
        del new_tokens
        self.call(case)

    def call(self, case: int) -> Timed:
        """Score one request, timed until all scores are ready."""
        faults, prepared = self._faults, self._prepared[case]
        # The tokens are on the device already: the clock has the query, the rows and nothing else.
        began_s, start_s = time.perf_counter(), faults.clock()
        scores = self._scorer.call(prepared)
        faults.after_call(scores, began_s)
        # Programs return before the device is done: only now are the scores there.
        jax.block_until_ready(scores)
        latency_s = faults.clock() - start_s
        return Timed(
            latency_s=latency_s,
            inside_s=time.perf_counter() - began_s,
            items=len(self._requests[case].rows),
            scores=scores,
        )

    def beside_call(self, case: int) -> None:
        """Do nothing: a request stands on the device before its clock starts."""
        del case

    def call_s(self, call: Timed) -> float:
        """Return how long one call took, by the arm's clock."""
        return call.latency_s

    def inside_s(self, call: Timed) -> float:
        """Return how long one call took, by the true clock."""
        return call.inside_s

    def measured(self, calls: Sequence[Timed]) -> dict[str, float | None]:
        """Return the metrics of one trial.

        `items_per_s` is all items over all time; `latency_s` the mean of the requests.
        """
        # Totals over totals: a mean of rates would weigh short requests too much.
        total_s = sum(call.latency_s for call in calls)
        return {
            "items_per_s": sum(call.items for call in calls) / total_s,
            "latency_s": total_s / len(calls),
        }

    def outputs(self, case: int, call: Timed) -> list[OutputRow]:
        """Return `{index, item, label_token_ids, scores}` of each item; null is no number."""
        request = self._requests[case]
        scores = self._scorer.results(self._prepared[case], call.scores)
        # A fault on purpose shows in the first item.
        scores[0] = self._faults.scores(scores[0])
        rows = []
        for number, of_item in enumerate(scores):
            row = {
                "index": number,
                "item": item_of(self._engine, request, number),
                "label_token_ids": list(request.labels),
                "scores": _numbers(of_item),
            }
            rows.append(row)
        return rows

    def scores_by(self, engine: Engine, case: int) -> list[list[float | None]]:
        """Return the scores of a case by another engine of the same model; null is no number."""
        spec = score_spec(self._engine)
        scorer = Scorer(engine, batch_size=spec.batch_size, prefix_cache=spec.prefix_cache)
        # As many items at a time as in the run: the rows of a batch are padded alike.
        items = self.cases[case].params.get("batch_size")
        prepared = scorer.prepare(self._requests[case], batch_size=items)
        scores = scorer.results(prepared, scorer.call(prepared))
        return [_numbers(of_item) for of_item in scores]

    def facts(self, case: int, call: Timed, rows: Sequence[OutputRow]) -> dict[str, Any]:
        """Return how the items came by the query, and what the request was."""
        del call, rows
        prepared = self._prepared[case]
        request = self._requests[case]
        # The first of the items that continue the query computes it; the others save it.
        saved_tokens = max(prepared.reuse.hits - 1, 0) * len(request.query)
        return {
            "prefix": {
                **dataclasses.asdict(prepared.reuse),
                "saved_tokens": saved_tokens,
                "saved_bytes": saved_tokens * cost.token_bytes(self._engine),
                "note": prepared.note,
            },
            "items": len(request.rows),
            "labels": len(request.labels),
            "query_tokens": len(request.query),
            "longest_row_tokens": max(map(len, request.rows)),
        }

    def limits(self, case: int) -> tuple[int, ...]:
        """Return none: nothing is generated."""
        del case
        return ()

    def capture(self, case: int, path: Path) -> None:
        """Capture nothing: activations are those of generation alone."""
        del case, path

    def programs(self, case: int) -> list[Use]:
        """Return what the request of a case runs."""
        return self._scorer.uses(self._prepared[case])

    def steps(self, case: int, rows: Sequence[OutputRow] = ()) -> dict[str, Step | None]:
        """Return all the work of one request, behind `latency_s`."""
        del rows
        return {"latency_s": request_step(self._engine, self._prepared[case])}

    def last_step(self, case: int) -> None:
        """Return nothing known: a request is as many programs as its items have shapes."""
        del case


def _numbers(scores: Sequence[float]) -> list[float | None]:
    """Return an item's scores for JSON, which has no NaN: what is no number is null."""
    return [score if math.isfinite(score) else None for score in scores]
