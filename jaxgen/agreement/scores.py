"""Whether two arms give the same scores: how far apart, and for which labels another item wins.

Plain numbers go in, and the section `agreement` of the result comes out; no jax here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.agreement.algorithm import reasons as algorithm_reasons
from jaxgen.agreement.score_distances import kl_mean_of
from jaxgen.results.listing import first_few
from jaxgen.results.schema import Agreement, AlgorithmTest

TOLERANCES: dict[str, tuple[float, float]] = {
    "float32": (1e-5, 1e-3),
    "tensorfloat32": (0.01, 0.05),
    "float16": (0.01, 0.05),
    "bfloat16": (0.02, 0.2),
    "int8": (0.2, 1.0),
}
"""Per narrowest dtype of either arm: how far a score may lie off, and by which share of itself
where it is above 0.001. Scores are probabilities. float32 differs by the order of its sums, seen up
to 1e-6. Of right bfloat16 arms single scores were seen to differ by 8 %; int8 weights and caches
moved scores of the embedded model (8 queries, 8 items, 8 labels) by up to 0.059 and 24 %, int8
activations by up to 47 %. The limits of bfloat16 and int8 are two to four times as wide: they say
that the numbers cost too much. That the algorithm is right is tested in float32."""

SMALL = 1e-3  # below it a relative difference says nothing
MOST_NAMED = 3


def compare_scores(
    candidate: Sequence[Mapping[str, Any]],
    baseline: Sequence[Mapping[str, Any]],
    *,
    dtypes: Mapping[str, Sequence[str]],
    algorithm: AlgorithmTest | None = None,
    kl_budget: float | None = None,
) -> Agreement:
    """Compare the scores of two arms; the section `agreement` of a scoring run.

    `identical`: every score is bit-equal. `rounding`: both arms compute the same function, as
    `algorithm` says, and what their dtypes cost is within `kl_budget` or, without one, all scores
    lie within the tolerance of the narrowest dtype, absolutely and, above 0.001, relatively.
    `different`: anything else, or a score that is no number.

    Args:
        candidate, baseline: rows with `index` and `scores`, one per label, for the same items; for
            a budget with `label_token_ids` too.
        dtypes: by arm, the names of all that it computes or stores in.
        algorithm: what `algorithm.algorithm_test` says of both arms; null where nothing was tested.
        kl_budget: the mean KL divergence of an item's labels, nats; null is no budget.

    Returns:
        `status`, `scores_compared`, `max_abs_score_diff`, `max_rel_score_diff` (null where no score
        is above 0.001), `rank_flips`: labels for which another item wins, {label, candidate,
        baseline (items), margin}; `tolerance`, `tolerance_reason`, `reasons`, `warnings`.
    """
    ours, theirs = _scores_of(candidate), _scores_of(baseline)
    # Rounding is that of the coarser arm: int8 against float32 may differ as int8 does.
    narrowest = _narrowest(dtypes)
    apart, shares = _differences(ours, theirs)
    broken = _non_finite(ours, theirs)
    # A share of a tiny probability says nothing: it may be all rounding.
    kl_mean = None if broken else kl_mean_of(candidate, ours, theirs)
    beyond = [] if broken else _too_far(apart, shares, narrowest)
    reasons = broken + _too_costly(kl_mean, kl_budget, beyond) + algorithm_reasons(algorithm)
    agreement: Agreement = {
        "status": "different" if reasons else "rounding",
        "scores_compared": int(apart.size),
        "max_abs_score_diff": None,
        "max_rel_score_diff": None,
        "rank_flips": [],
        "first_divergence": None,
        "tolerance": TOLERANCES[narrowest][0],
        "tolerance_reason": _tolerance_reason(narrowest),
        "reasons": reasons,
        "warnings": [],
        "kl_mean": kl_mean,
        "algorithm": algorithm,
        "kl_budget": kl_budget,
    }
    if not reasons and np.array_equal(ours, theirs):
        agreement["status"] = "identical"
    # No figure is taken of what is no number.
    if apart.size and not broken:
        _add_figures(agreement, ours, theirs)
    return agreement


def _add_figures(agreement: Agreement, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Add how far the scores lie apart, and for which labels another item wins."""
    apart, shares = _differences(ours, theirs)
    agreement["max_abs_score_diff"] = float(apart.max())
    if shares.size:
        agreement["max_rel_score_diff"] = float(shares.max())
    flips = _rank_flips(ours, theirs)
    if flips:
        agreement["rank_flips"] = flips
        agreement["warnings"] = [_in_words(flips)]


def _too_costly(kl_mean: float | None, budget: float | None, beyond: list[str]) -> list[str]:
    """Return why the dtypes cost too much: by the budget, or by the tolerance without one."""
    if budget is None:
        return beyond
    if kl_mean is None or kl_mean <= budget:
        return []
    clause = (
        f"the candidate's scores have a mean KL divergence of {kl_mean:.3g} nats from the "
        f"baseline's, more than agreement.kl={budget:g}"
    )
    return [clause]


def _scores_of(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the scores of an arm, shape (items, labels)."""
    scores = [row["scores"] for row in rows]
    return np.array(scores, dtype=float)


def _differences(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far all scores lie apart, and the large ones as shares of themselves."""
    apart = np.abs(ours - theirs)
    sizes = np.abs(theirs)
    # 2e-6 against the baseline's 1e-6 is 100 % and means nothing; 0.3 against 0.2 is 50 % and does.
    is_large = sizes > SMALL
    return apart, apart[is_large] / sizes[is_large]


def _non_finite(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    """Name the arms whose scores hold what is no number."""
    broken = []
    for arm, scores in (("the candidate", ours), ("the baseline", theirs)):
        if not np.isfinite(scores).all():
            broken.append(f"{arm}'s scores hold NaN or Inf")
    return broken


def _tolerance_reason(narrowest: str) -> str:
    absolute, relative = TOLERANCES[narrowest]
    return (
        f"{narrowest} is the narrowest type of either arm: {absolute:g} of a probability, "
        f"and {relative:.1%} of one above {SMALL:g}"
    )


def _narrowest(dtypes: Mapping[str, Sequence[str]]) -> str:
    names: list[str] = []
    for names_of_arm in dtypes.values():
        names += names_of_arm
    return max(names, key=lambda name: TOLERANCES[name])


def _too_far(apart: np.ndarray, shares: np.ndarray, narrowest: str) -> list[str]:
    """Return why the differences are more than rounding; the absolute ones come first."""
    absolute, relative = TOLERANCES[narrowest]
    if apart.size and apart.max() > absolute:
        # The worst one is named with its place, since that is where to look.
        worst = apart.argmax()
        row, label = np.unravel_index(worst, apart.shape)
        difference = f"item {row} differs by {apart.max():.2g} at label {label}"
        allowed = f"{absolute:g} is allowed for {narrowest}"
        return [f"{difference}, where {allowed}"]
    if shares.size and shares.max() > relative:
        difference = f"a score differs by {shares.max():.1%}"
        allowed = f"{relative:.1%} is allowed for {narrowest}"
        return [f"{difference}, where {allowed}"]
    return []


def _rank_flips(ours: np.ndarray, theirs: np.ndarray) -> list[dict[str, Any]]:
    """Return the labels for which the arms have different winners among the items."""
    # Among the items of one label (axis 0): which item ranks first is what scores are used for.
    our_winners, their_winners = ours.argmax(0), theirs.argmax(0)
    flips = []
    for label in np.flatnonzero(our_winners != their_winners).tolist():
        winner = int(our_winners[label])
        expected = int(their_winners[label])
        # By how much the baseline's winner led there: a flip by 1e-7 was a tie.
        margin = float(theirs[expected, label] - theirs[winner, label])
        flips.append({"label": label, "candidate": winner, "baseline": expected, "margin": margin})
    return flips


def _in_words(flips: Sequence[Mapping[str, Any]]) -> str:
    labels = [f"{flip['label']} (by {flip['margin']:.2g})" for flip in flips]
    return f"another item wins for label {first_few(labels, most=MOST_NAMED)}"
