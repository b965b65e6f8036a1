"""How far two arms' scores lie apart: by their logarithms, and as distributions over the labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SMALLEST = 1e-30
"""A probability below it counts as this: its logarithm would be all rounding."""


def log_differences(
    candidate: Sequence[Sequence[float | None]], baseline: Sequence[Sequence[float | None]]
) -> tuple[list[list[float | None]], float]:
    """Return how far two arms' scores of each item lie apart, and how wide they are.

    Args:
        candidate, baseline: scores by item and label; null is no number.

    Returns:
        Of each item, as a row of one number, the root mean square over its labels of the
        differences of the scores' logarithms, null where any score is no number; and the root mean
        square of all of the baseline's logarithms, 1 at least.
    """
    ours = _logarithms(candidate)
    theirs = _logarithms(baseline)
    squares = np.square(ours - theirs)
    of_items = np.sqrt(squares.mean(axis=-1))
    rows: list[list[float | None]] = []
    for apart in of_items.tolist():
        number = apart if np.isfinite(apart) else None
        rows.append([number])
    finite = theirs[np.isfinite(theirs)]
    width = 1.0
    if finite.size:
        mean_square = np.square(finite).mean()
        width = max(width, float(np.sqrt(mean_square)))
    return rows, width


def _logarithms(scores: Sequence[Sequence[float | None]]) -> np.ndarray:
    numbers = np.array(scores, dtype=float)
    return _log(numbers)


def _log(scores: np.ndarray) -> np.ndarray:
    # A probability that float32 has no number for is 0 in one arm and 1e-45 in the other.
    positive = np.maximum(scores, SMALLEST)
    return np.log(positive)


def kl_mean_of(
    rows: Sequence[Mapping[str, Any]], ours: np.ndarray, theirs: np.ndarray
) -> float | None:
    """Return the mean KL divergence of the items' labels, all other tokens taken as one."""
    if not theirs.size:
        return None
    labels = rows[0].get("label_token_ids") or range(theirs.shape[1])
    # A label that is asked for twice has its probability once.
    _, once = np.unique(np.array(labels), return_index=True)
    candidate = _with_rest(ours[:, once])
    baseline = _with_rest(theirs[:, once])
    apart = _log(baseline) - _log(candidate)
    divergences = baseline * apart
    divergences = divergences.sum(axis=-1)
    # Rounding can make one of equal scores negative.
    divergences = np.maximum(divergences, 0.0)
    return float(divergences.mean())


def _with_rest(scores: np.ndarray) -> np.ndarray:
    """Add the probability of everything else, which rounding may make negative."""
    rest = 1.0 - scores.sum(axis=-1, keepdims=True)
    return np.concatenate([scores, np.maximum(rest, 0.0)], axis=-1)
