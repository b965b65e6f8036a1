"""Whether two arms give the same scores: how far apart, and for which labels another item wins.

Plain numbers go in, and the section `agreement` of the result comes out; no jax here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.results.schema import Agreement

TOLERANCES: dict[str, tuple[float, float]] = {
    "float32": (1e-5, 1e-3),
    "tensorfloat32": (0.01, 0.05),
    "float16": (0.01, 0.05),
    "bfloat16": (0.01, 0.05),
    "int8": (0.1, 0.5),
}
"""Per narrowest dtype of either arm: how far a score may lie off, and by which share of itself
where it is above 0.001. Scores are probabilities. float32 differs by the order of its sums, seen up
to 1e-6; the 0.01 and 5 % of the narrow types are what users of scoring servers accept between
bfloat16 and float32. int8 weights and caches moved scores of the embedded model (8 queries, 8
items, 8 labels) by up to 0.059 and 24 %, int8 activations by up to 47 %."""

SMALL = 1e-3  # below it a relative difference says nothing
MOST_NAMED = 3


def compare_scores(
    candidate: Sequence[Mapping[str, Any]],
    baseline: Sequence[Mapping[str, Any]],
    *,
    dtypes: Mapping[str, Sequence[str]],
) -> Agreement:
    """Compare the scores of two arms; the section `agreement` of a scoring run.

    `identical`: every score is bit-equal. `rounding`: all lie within the tolerance of the narrowest
    dtype, absolutely and, above 0.001, relatively. `different`: anything else, or a score that is
    no number.

    Args:
        candidate, baseline: rows with `index` and `scores`, one per label, for the same items.
        dtypes: by arm, the names of all that it computes or stores in.

    Returns:
        `status`, `scores_compared`, `max_abs_score_diff`, `max_rel_score_diff` (null where no score
        is above 0.001), `rank_flips`: labels for which another item wins, {label, candidate,
        baseline (items), margin}; `tolerance`, `tolerance_reason`, `reasons`, `warnings`.
    """
    ours = np.array([row["scores"] for row in candidate], dtype=float)
    theirs = np.array([row["scores"] for row in baseline], dtype=float)
    narrowest = _narrowest(dtypes)
    absolute, relative = TOLERANCES[narrowest]
    apart = np.abs(ours - theirs)
    large = np.abs(theirs) > SMALL
    shares = apart[large] / np.abs(theirs[large])
    broken = []
    for arm, scores in (("the candidate", ours), ("the baseline", theirs)):
        if not np.isfinite(scores).all():
            broken.append(f"{arm}'s scores hold NaN or Inf")
    reasons = broken or _too_far(apart, shares, narrowest)
    status = "rounding"
    if reasons:
        status = "different"
    elif np.array_equal(ours, theirs):
        status = "identical"
    known = not broken and apart.size > 0
    flips = _rank_flips(ours, theirs) if known else []
    return {
        "status": status,
        "scores_compared": int(apart.size),
        "max_abs_score_diff": float(apart.max()) if known else None,
        "max_rel_score_diff": float(shares.max()) if known and shares.size else None,
        "rank_flips": flips,
        "first_divergence": None,
        "tolerance": absolute,
        "tolerance_reason": (
            f"{narrowest} is the narrowest type of either arm: {absolute:g} of a probability, "
            f"and {relative:.1%} of one above {SMALL:g}"
        ),
        "reasons": reasons,
        "warnings": [_in_words(flips)] if flips else [],
    }


def _narrowest(dtypes: Mapping[str, Sequence[str]]) -> str:
    names: list[str] = []
    for names_of_arm in dtypes.values():
        names += names_of_arm
    return max(names, key=lambda name: TOLERANCES[name])


def _too_far(apart: np.ndarray, shares: np.ndarray, narrowest: str) -> list[str]:
    """Return why the differences are more than rounding; the absolute ones come first."""
    absolute, relative = TOLERANCES[narrowest]
    if apart.size and apart.max() > absolute:
        row, label = np.unravel_index(apart.argmax(), apart.shape)
        return [
            f"item {row} differs by {apart.max():.2g} at label {label}, "
            f"where {absolute:g} is allowed for {narrowest}"
        ]
    if shares.size and shares.max() > relative:
        return [
            f"a score differs by {shares.max():.1%}, where {relative:.1%} is allowed for {narrowest}"
        ]
    return []


def _rank_flips(ours: np.ndarray, theirs: np.ndarray) -> list[dict[str, Any]]:
    """Return the labels for which the arms have different winners among the items."""
    our_winners, their_winners = ours.argmax(0), theirs.argmax(0)
    flips = []
    for label in np.flatnonzero(our_winners != their_winners).tolist():
        winner, expected = int(our_winners[label]), int(their_winners[label])
        margin = float(theirs[expected, label] - theirs[winner, label])
        flips.append({"label": label, "candidate": winner, "baseline": expected, "margin": margin})
    return flips


def _in_words(flips: Sequence[Mapping[str, Any]]) -> str:
    named = [f"{flip['label']} (by {flip['margin']:.2g})" for flip in flips[:MOST_NAMED]]
    more = len(flips) - MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f"another item wins for label {', '.join(named)}{rest}"
