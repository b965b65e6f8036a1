"""What the teacher-forced differences of two arms come to: the figures of the result, and whether rounding covers them.

Reads the plain data of `engine.logit_comparison.compare_logits`: by row and position, null where there is nothing to say.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.results.schema import Quality

PERCENTILE = 99
"""Of the differences, which has to lie within the tolerance. Not the maximum: among thousands of positions one moves
further than any of those on which the tolerances were measured, and a wrong cache moves most that follow it."""

Rows = Sequence[Sequence[float | None]]


def facts(forced: Mapping[str, Any]) -> dict[str, Any]:
    """The block `agreement.forced` of the result.

    Returns:
        `method` by arm, `positions_compared`, `positions_total`, `skipped`, `non_finite`, `logit_spread`;
        `p99_abs_logprob_diff`; `kl_by_position` and `max_abs_logprob_diff_by_position`, the largest of all prompts.
    """
    copied = ("positions_compared", "positions_total", "skipped", "non_finite", "logit_spread")
    differences = numbers(forced["max_abs_logprob_diff"])
    return {
        "method": dict(forced["forced"]),
        **{key: forced[key] for key in copied},
        "p99_abs_logprob_diff": float(np.percentile(differences, PERCENTILE))
        if differences
        else None,
        "kl_by_position": _by_position(forced["kl"]),
        "max_abs_logprob_diff_by_position": _by_position(forced["max_abs_logprob_diff"]),
    }


def quality(forced: Mapping[str, Any], *, against: Sequence[str]) -> Quality | None:
    """What narrower numbers cost, on the same tokens; null where nothing could be compared.

    Args:
        forced: of the candidate, on the baseline's answers.
        against: the dtypes of the baseline.

    Returns:
        `against`; `positions`; `next_token_agreement`, the share of them where both arms have the same likeliest
        token; `logit_error`, root mean square over vocabulary and positions of the logits' differences, each
        position's mean taken off; `kl_mean`, nats.
    """
    alike, errors, kl = (numbers(forced[key]) for key in ("next_token_alike", "logit_error", "kl"))
    if not alike:
        return None
    return {
        "against": " and ".join(dict.fromkeys(against)),
        "positions": len(alike),
        "next_token_agreement": statistics.fmean(alike),
        "logit_error": statistics.fmean(error**2 for error in errors) ** 0.5,
        "kl_mean": statistics.fmean(kl),
    }


def numbers(rows: Rows) -> list[float]:
    """All values there are."""
    return [value for row in rows for value in row if value is not None]


def margins(forced: Mapping[str, Any] | None, row: int, position: int) -> dict[str, float | None]:
    """By how much each arm's likeliest token leads the second there; null where it was not measured."""
    found: dict[str, float | None] = {"candidate": None, "baseline": None}
    for arm, rows in (forced or {}).get("margins", {}).items():
        if row < len(rows) and position < len(rows[row]):
            found[arm] = rows[row][position]
    return found


def non_finite(forced: Mapping[str, Any]) -> list[str]:
    """A clause where an arm's logits hold what is no number."""
    clauses = {
        "candidate": "the candidate's logits hold NaN or Inf",
        "baseline": "the baseline's logits hold NaN or Inf",
        "both": "both arms' logits hold NaN or Inf",
    }
    return [clauses[forced["non_finite"]]] if forced["non_finite"] else []


def beyond(forced: Mapping[str, Any], tolerance: float) -> list[str]:
    """A clause where rounding does not cover the differences, with the first place that shows it."""
    differences = numbers(forced["max_abs_logprob_diff"])
    if not differences or (typical := float(np.percentile(differences, PERCENTILE))) <= tolerance:
        return []
    row, position = next(
        (row, position)
        for row, values in enumerate(forced["max_abs_logprob_diff"])
        for position, value in enumerate(values)
        if value is not None and value > tolerance
    )
    clause = (
        f"on the same tokens the arms' log-probabilities differ by {typical:.3g} ({PERCENTILE}th percentile), more "
        f"than the tolerance of {tolerance:.3g}, first in prompt {row} at token {position}"
    )
    return [clause]


def _by_position(rows: Rows) -> list[float | None]:
    """The largest of all rows at each position."""
    columns = itertools.zip_longest(*rows)
    return [
        max((value for value in column if value is not None), default=None) for column in columns
    ]
