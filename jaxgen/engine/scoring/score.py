"""Scores of one request in a single call, for whoever keeps no prepared request."""

from collections.abc import Sequence

from jaxgen.engine.scoring.encoding import Encoder, TextOrIds
from jaxgen.engine.scoring.request import make_request
from jaxgen.engine.scoring.scorer import Scorer


def score(
    scorer: Scorer,
    codec: Encoder,
    *,
    query: TextOrIds,
    items: Sequence[TextOrIds],
    label_token_ids: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    apply_softmax: bool = False,
    item_first: bool = False,
    tokenization: str = "joint",
) -> list[list[float]]:
    """Return the probability of each label right after the query and each item.

    Args:
        scorer: keeps the compiled programs between calls.
        codec: encodes texts.
        query, items, label_token_ids, labels: see `make_request`.
        apply_softmax, item_first, tokenization: see `make_request`.

    Returns:
        One row per item, one column per label, in their orders.

    Raises:
        UserError: the request cannot be scored.
    """
    request = make_request(
        query,
        items,
        codec=codec,
        architecture=scorer.engine.blueprint.structure.architecture,
        cache=scorer.engine.run.cache,
        label_token_ids=label_token_ids,
        labels=labels,
        apply_softmax=apply_softmax,
        item_first=item_first,
        tokenization=tokenization,
    )
    prepared = scorer.prepare(request)
    return scorer.results(prepared, scorer.call(prepared))
