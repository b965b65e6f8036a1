"""Whether two arms give the same scores: how far apart they lie, and for which labels another item wins.

Plain numbers in, the block `agreement` of the result out; no jax here.
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
"""Per narrowest dtype of either arm: how far a score may lie off, and by which share of itself where it is above 0.001.
Scores are probabilities. float32 differs by the order of its sums, seen up to 1e-6; the 0.01 and 5 % of the narrow
types are what users of scoring servers accept between bfloat16 and float32. int8 weights and caches moved scores of the
embedded model (8 queries, 8 items, 8 labels) by up to 0.059 and 24 %, int8 activations by up to 47 %."""

SMALL = 1e-3  # below it a relative difference says nothing
NAMED = 3


def compare(
    candidate: Sequence[Mapping[str, Any]],
    baseline: Sequence[Mapping[str, Any]],
    *,
    dtypes: Mapping[str, Sequence[str]],
) -> Agreement:
    """The `agreement` block of a scoring run.

    `identical`: every score is bit-equal. `rounding`: all lie within the tolerance of the narrowest dtype, absolutely
    and, above 0.001, relatively. `different`: anything else, or a score that is no number.

    Args:
        candidate, baseline: rows with `index` and `scores`, one per label, for the same items.
        dtypes: by arm, the names of all that it computes or stores in.

    Returns:
        `status`, `scores_compared`, `max_abs_score_diff`, `max_rel_score_diff` (null where no score is above 0.001),
        `rank_flips`: labels for which another item wins, {label, candidate, baseline (items), margin}; `tolerance`,
        `tolerance_reason`, `reasons`, `warnings`.
    """
    ours, theirs = (
        np.array([row["scores"] for row in rows], dtype=float) for rows in (candidate, baseline)
    )
    narrowest = max(
        (name for names in dtypes.values() for name in names), key=lambda name: TOLERANCES[name]
    )
    absolute, relative = TOLERANCES[narrowest]
    apart = np.abs(ours - theirs)
    large = np.abs(theirs) > SMALL
    shares = apart[large] / np.abs(theirs[large])
    finite = {"the candidate": np.isfinite(ours).all(), "the baseline": np.isfinite(theirs).all()}
    reasons = [f"{arm}'s scores hold NaN or Inf" for arm, good in finite.items() if not good]
    if not reasons and apart.size and apart.max() > absolute:
        row, label = np.unravel_index(apart.argmax(), apart.shape)
        reasons.append(
            f"item {row} differs by {apart.max():.2g} at label {label}, where {absolute:g} is allowed for {narrowest}"
        )
    if not reasons and shares.size and shares.max() > relative:
        reasons.append(
            f"a score differs by {shares.max():.1%}, where {relative:.1%} is allowed for {narrowest}"
        )
    known = all(finite.values()) and apart.size > 0
    flips = _rank_flips(ours, theirs) if known else []
    return {
        "status": "different"
        if reasons
        else "identical"
        if np.array_equal(ours, theirs)
        else "rounding",
        "scores_compared": int(apart.size),
        "max_abs_score_diff": float(apart.max()) if known else None,
        "max_rel_score_diff": float(shares.max()) if known and shares.size else None,
        "rank_flips": flips,
        "first_divergence": None,
        "tolerance": absolute,
        "tolerance_reason": f"{narrowest} is the narrowest type of either arm: {absolute:g} of a probability, and "
        f"{relative:.1%} of one above {SMALL:g}",
        "reasons": reasons,
        "warnings": [_told(flips)] if flips else [],
    }


def _rank_flips(ours: np.ndarray, theirs: np.ndarray) -> list[dict[str, Any]]:
    """Labels for which the arms have different winners among the items."""
    winners, expected = ours.argmax(0), theirs.argmax(0)
    return [
        {
            "label": label,
            "candidate": int(winners[label]),
            "baseline": int(expected[label]),
            "margin": float(theirs[expected[label], label] - theirs[winners[label], label]),
        }
        for label in np.flatnonzero(winners != expected).tolist()
    ]


def _told(flips: Sequence[Mapping[str, Any]]) -> str:
    named = ", ".join(f"{flip['label']} (by {flip['margin']:.2g})" for flip in flips[:NAMED])
    more = f" and {len(flips) - NAMED} more" if len(flips) > NAMED else ""
    return f"another item wins for label {named}{more}"
