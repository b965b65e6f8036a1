"""What the teacher-forced differences of two arms come to, and whether rounding explains them.

Both arms read the same tokens, the baseline's own outputs, so that their distributions can be
compared at every position, whatever the arms would have written themselves. The numbers are the
plain data of `engine.logit_comparison.compare_logits`: by row and position, null where there is
nothing to say.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.results.schema import Quality

PERCENTILE = 99
"""Of the differences, which has to lie within the tolerance. Not the maximum: among thousands of
positions one moves further than any of those on which the tolerances were measured, and a wrong
cache moves most that follow it."""

Numbers = Sequence[Sequence[float | None]]


def facts(forced: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section `agreement.forced` of the result.

    Returns:
        `method` by arm, `positions_compared`, `positions_total`, `skipped`, `non_finite`,
        `logit_spread`; `p99_abs_logprob_diff`; `kl_by_position` and
        `max_abs_logprob_diff_by_position`, the largest of all prompts.
    """
    return {
        "method": dict(forced["forced"]),
        "positions_compared": forced["positions_compared"],
        "positions_total": forced["positions_total"],
        "skipped": forced["skipped"],
        "non_finite": forced["non_finite"],
        "logit_spread": forced["logit_spread"],
        "p99_abs_logprob_diff": _typical_difference(forced),
        "kl_by_position": _by_position(forced["kl"]),
        "max_abs_logprob_diff_by_position": _by_position(forced["max_abs_logprob_diff"]),
    }


def quality(forced: Mapping[str, Any], *, against: Sequence[str]) -> Quality | None:
    """Return what narrower numbers cost, on the same tokens; null where nothing was compared.

    Args:
        forced: of the candidate, on the baseline's outputs.
        against: the dtypes of the baseline.

    Returns:
        `against`; `positions`; `next_token_agreement`, the share of them where both arms have the
        same likeliest token; `logit_error`, root mean square over vocabulary and positions of the
        logits' differences, each position's mean taken off; `kl_mean`, nats.
    """
    # All lists of a position are null together, so that this one says whether there is any.
    alike = numbers(forced["next_token_alike"])
    if not alike:
        return None
    # The mean of squares of all positions, then the root: a root mean square of the whole.
    squared_errors = [error**2 for error in numbers(forced["logit_error"])]
    return {
        "against": " and ".join(dict.fromkeys(against)),
        "positions": len(alike),
        "next_token_agreement": statistics.fmean(alike),
        "logit_error": statistics.fmean(squared_errors) ** 0.5,
        "kl_mean": statistics.fmean(numbers(forced["kl"])),
    }


def numbers(rows: Numbers) -> list[float]:
    """Return all values that are not null."""
    values = []
    for row in rows:
        values += [value for value in row if value is not None]
    return values


def margins(forced: Mapping[str, Any] | None, row: int, position: int) -> dict[str, float | None]:
    """Return by how much each arm's likeliest token leads the second; null where not known."""
    found: dict[str, float | None] = {"candidate": None, "baseline": None}
    if forced is None:
        return found
    for arm, rows in forced.get("margins", {}).items():
        if row < len(rows) and position < len(rows[row]):
            found[arm] = rows[row][position]
    return found


def non_finite(forced: Mapping[str, Any]) -> list[str]:
    """Return a clause where an arm's logits hold what is no number."""
    clauses = {
        "candidate": "the candidate's logits hold NaN or Inf",
        "baseline": "the baseline's logits hold NaN or Inf",
        "both": "both arms' logits hold NaN or Inf",
    }
    return [clauses[forced["non_finite"]]] if forced["non_finite"] else []


def beyond(forced: Mapping[str, Any], tolerance: float) -> list[str]:
    """Return a clause where rounding does not explain the differences, with their first place.

    Args:
        forced: as for `facts`.
        tolerance: how far rounding may move a log-probability, nats.
    """
    typical = _typical_difference(forced)
    # The first place is named too: a wrong cache spoils all that follows it, so that one looks
    # there.
    if typical is None or typical <= tolerance:
        return []
    row, position = _first_beyond(forced["max_abs_logprob_diff"], tolerance)
    clause = (
        f"on the same tokens the arms' log-probabilities differ by {typical:.3g} "
        f"({PERCENTILE}th percentile), more than the tolerance of {tolerance:.3g}, "
        f"first in prompt {row} at token {position}"
    )
    return [clause]


def over_budget(forced: Mapping[str, Any], budget: float) -> list[str]:
    """Return a clause where the candidate's numbers cost more than the user allows.

    Args:
        forced: as for `facts`.
        budget: mean KL divergence of a next token, nats.
    """
    divergences = numbers(forced["kl"])
    if not divergences:
        return []
    mean = statistics.fmean(divergences)
    if mean <= budget:
        return []
    clause = (
        f"on the same tokens the candidate's distributions have a mean KL divergence of {mean:.3g} "
        f"nats from the baseline's, more than agreement.kl={budget:g}"
    )
    return [clause]


def _typical_difference(forced: Mapping[str, Any]) -> float | None:
    differences = numbers(forced["max_abs_logprob_diff"])
    return float(np.percentile(differences, PERCENTILE)) if differences else None


def _first_beyond(rows: Numbers, tolerance: float) -> tuple[int, int]:
    for row, values in enumerate(rows):
        for position, value in enumerate(values):
            if value is not None and value > tolerance:
                return row, position
    # Never reached from `beyond`: a percentile above the tolerance means that some value is.
    raise ValueError("no difference is beyond the tolerance")


def _by_position(rows: Numbers) -> list[float | None]:
    """Return the largest of all rows at each position."""
    largest = []
    # Answers have different lengths; the longest alone reaches the last positions.
    for column in itertools.zip_longest(*rows):
        values = [value for value in column if value is not None]
        largest.append(max(values, default=None))
    return largest
