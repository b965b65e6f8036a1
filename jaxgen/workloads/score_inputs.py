"""The requests of the scoring workload: as the user wrote it, or one for each point of a grid."""

import itertools

import numpy as np

from jaxgen.engine.engine import Engine
from jaxgen.engine.scoring.encoding import (
    TextOrIds,
    tokens_of,
)
from jaxgen.engine.scoring.request import (
    ScoreRequest,
    make_request,
)
from jaxgen.specs.score import Score
from jaxgen.workloads.codec import Codec


def score_spec(engine: Engine) -> Score:
    """Return the workload's spec; another workload is a fault of the caller."""
    assert isinstance(engine.run.workload, Score)
    return engine.run.workload


def grid_of(spec: Score) -> list[tuple[int, int]]:
    """Return every (items, labels) that is a case of its own; none without a grid."""
    if not (spec.batch_sizes or spec.num_labels):
        return []
    labels = len(spec.label_token_ids or spec.labels or ())
    items = spec.batch_sizes or (len(spec.items),)
    return list(itertools.product(items, spec.num_labels or (labels,)))


def request_of(
    engine: Engine,
    codec: Codec,
    *,
    items: int | None,
    labels: int | None,
) -> ScoreRequest:
    """Return the request as it is written, or one of the grid.

    Args:
        engine: the arm's.
        codec: of the arm's checkpoint.
        items: how many, of those that there are, again and again; null takes them as they are.
        labels: how many; null takes them as they are.

    Raises:
        UserError: the request cannot be scored by this model.
    """
    spec = score_spec(engine)
    architecture = engine.blueprint.structure.architecture
    query, texts = spec.query, spec.items
    if spec.item_tokens:
        # Random items are token ids, so the query must be, too.
        if isinstance(query, str):
            query = tokens_of(codec, query)
        texts = _random_items(
            items or len(texts),
            spec.item_tokens,
            architecture.vocab_size,
        )
    elif items is not None:
        # More items than there are: the same ones again, as a grid asks for a count alone.
        texts = tuple(itertools.islice(itertools.cycle(texts), items))
    ids = spec.label_token_ids
    if spec.num_labels and labels is not None:
        # Evenly through the vocabulary: which ids they are changes no time.
        ids = tuple(number * architecture.vocab_size // labels for number in range(labels))
    return make_request(
        query,
        texts,
        codec=codec,
        architecture=architecture,
        cache=engine.run.cache,
        label_token_ids=ids,
        labels=None if ids is not None else spec.labels,
        apply_softmax=spec.apply_softmax,
        item_first=spec.item_first,
        tokenization=spec.tokenization.value,
    )


def item_of(engine: Engine, request: ScoreRequest, number: int) -> str | list[int]:
    """Return an item as the output has it: its text, or its token ids."""
    spec = score_spec(engine)
    if not spec.item_tokens:
        item = spec.items[number % len(spec.items)]
        if isinstance(item, str):
            return item
        return list(item)
    row = request.rows[number]
    query_length = len(request.query)
    if request.item_first:
        item_length = len(row) - query_length
        return list(row[:item_length])
    return list(row[query_length:])


def _random_items(count: int, tokens: int, vocab_size: int) -> tuple[TextOrIds, ...]:
    """Seeded items, the same for all arms."""
    # One seed: both arms have to score the same items.
    rng = np.random.default_rng(0)
    ids = rng.integers(0, vocab_size, (count, tokens)).tolist()
    return tuple(tuple(item) for item in ids)
