"""The section `agreement` of result.json: whether the arms' outputs are the same."""

from typing import Any, NotRequired, TypedDict

from jaxgen.results.schema.types import Count


class Divergence(TypedDict):
    """The first place where the two arms' answers differ, with both texts around it."""

    # The prompt, and which of its new tokens.
    index: Count
    position: Count
    # Token ids; null where that answer had ended by then.
    candidate: int | None
    baseline: int | None
    logprobs: dict[str, list[float]] | None
    margin: dict[str, float | None]
    excerpt: dict[str, str]


class Quality(TypedDict):
    """What narrower numbers cost, on the same tokens."""

    against: str
    positions: Count
    next_token_agreement: float
    logit_error: float
    kl_mean: float


class AlgorithmTest(TypedDict):
    """Whether the arms compute the same function, against what rounding alone does."""

    # `arms` as they are, or their `float32 shadows`.
    method: str
    positions: Count
    # Standard deviation over the vocabulary of how far the logits lie apart, at the worst position.
    largest_difference: float | None
    # How many times as far as rounding; null where the differences are below any doubt.
    excess: float | None
    most_excess: float
    # The row and the position where they first do; null where they never do.
    first: dict[str, Count] | None
    # Whose float32 logits hold what is no number: `candidate`, `baseline`, `both`, or null.
    non_finite: str | None


class Agreement(TypedDict):
    """Whether the arms' outputs agree; a scoring run has figures of scores, others of tokens."""

    status: str
    reasons: list[str]
    warnings: list[str]
    first_divergence: Divergence | None
    tolerance: float
    tolerance_reason: str
    tokens_compared: NotRequired[Count]
    prompts_compared: NotRequired[Count]
    prompts_diverging: NotRequired[Count]
    max_abs_logprob_diff: NotRequired[float | None]
    kl_max: NotRequired[float | None]
    kl_mean: NotRequired[float | None]
    forced: NotRequired[dict[str, Any] | None]
    quality: NotRequired[Quality | None]
    # Null where nothing could be tested; a warning says why.
    algorithm: NotRequired[AlgorithmTest | None]
    # The most tokens before a compared one.
    depth_compared: NotRequired[Count | None]
    # `agreement.kl`: the mean KL divergence that the dtypes may cost; null leaves the tolerance.
    kl_budget: NotRequired[float | None]
    scores_compared: NotRequired[Count]
    max_abs_score_diff: NotRequired[float | None]
    max_rel_score_diff: NotRequired[float | None]
    rank_flips: NotRequired[list[dict[str, Any]]]
