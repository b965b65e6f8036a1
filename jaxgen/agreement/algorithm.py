"""Whether two arms compute the same function, judged against what rounding alone would do.

Both arms read the same tokens in float32, as they are or as float32 shadows of narrower arms. Where
their logits differ by no more than a few units in the last place, nothing is left to ask. Where
they differ by more, the baseline reads the tokens once more with its sums in another order: an
equal function, whose differences are rounding and nothing else.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from jaxgen.agreement.forced import non_finite
from jaxgen.results.schema import AlgorithmTest

ULP = 2.0**-23
"""The relative step of float32."""

SURE_ULPS = 32
"""Differences up to so many steps of the logits' own spread are rounding, whatever the model.

The embedded model's caches differ by 8 at most; the weakest of 21 injected bugs, another epsilon in
the norms, moves the logits by 8000 (`python tests/bench/agreement.py bugs fixed`)."""

MOST_EXCESS = 10.0
"""How many times their own rounding two right arms may differ by.

Of 200 right pairs of the embedded model none was in doubt at all (`python tests/bench/agreement.py
right 200`); the weakest of 21 injected bugs had 600 times."""

SHORTEST_WINDOW = 4
"""Tokens at the end of an answer that are looked at by themselves: a bug that begins late, as where
a buffer is full, is diluted by all that comes before."""

Numbers = Sequence[Sequence[float | None]]


def is_surely_rounding(differences: Numbers, *, spread: float | None) -> bool:
    """Say whether the differences are so small that no pass has to show what rounding does.

    Args:
        differences: by row and position, the standard deviation over the vocabulary of how far the
            logits lie apart; null where nothing was compared.
        spread: the logits' own standard deviation; null where it is not known.
    """
    if spread is None:
        return False
    most = SURE_ULPS * ULP * spread
    compared = _numbers(differences)
    return max(compared, default=0.0) <= most


def algorithm_test(
    differences: Numbers,
    noise: Numbers | None,
    *,
    spread: float | None,
    method: Literal["arms", "float32 shadows"],
    broken: str | None = None,
) -> AlgorithmTest:
    """Return the section `agreement.algorithm` of the result.

    The statistic is a ratio of root mean squares: of the differences to the noise, over all
    positions, over each row, and over the last 4, 8, 16 and so on of it. The largest ratio counts.

    Args:
        differences: as of `is_surely_rounding`.
        noise: the same of an equal function with its sums in another order; null where the
            differences are surely rounding.
        spread: of the logits.
        method: what was compared.
        broken: whose logits hold what is no number, in the words of `compare_logits`.
    """
    compared = _numbers(differences)
    excess = None
    floor = ULP * (spread or 0.0)
    if noise is not None:
        excess = _excess(
            differences,
            noise,
            floor=floor,
        )
    return {
        "method": method,
        "positions": len(compared),
        "largest_difference": max(compared, default=None),
        "excess": excess,
        "most_excess": MOST_EXCESS,
        "first": _first(differences, noise, excess, floor=floor),
        "non_finite": broken,
    }


def reasons(test: AlgorithmTest | None) -> list[str]:
    """Return the clauses on how the arms differ by more than rounding."""
    if test is None:
        return []
    where = "in float32, " if test["method"] == "float32 shadows" else ""
    broken = [where + clause for clause in non_finite(test)]
    if test["excess"] is None or test["excess"] <= MOST_EXCESS:
        return broken
    clause = (
        f"{where}on the same tokens, the arms' logits lie {test['excess']:.3g} times as far apart "
        f"as rounding moves them, where {MOST_EXCESS:g} times is allowed (by "
        f"{test['largest_difference']:.3g} at most)"
    )
    first = test["first"]
    if first is not None:
        clause += f", first in row {first['row']} at position {first['position']}"
    return [*broken, clause]


def _excess(differences: Numbers, noise: Numbers, *, floor: float) -> float | None:
    """Return the largest ratio of root mean squares; null where nothing was compared."""
    pairs_of_rows = [_pairs(*rows) for rows in zip(differences, noise, strict=True)]
    together = [pair for pairs in pairs_of_rows for pair in pairs]
    if not together:
        return None
    # Equal sums in both orders leave no noise: the smallest step of the logits stands for it.
    typical = max(_of_noise(together), floor)
    largest = _of_differences(together) / typical
    for pairs in pairs_of_rows:
        for window in _windows(pairs):
            own = typical
            # A few numbers may have little noise by chance: they are held against all of it.
            if len(window) >= SHORTEST_WINDOW:
                own = max(_of_noise(window), floor)
            ratio = _of_differences(window) / own
            largest = max(largest, ratio)
    return largest


def _windows(pairs: Sequence[tuple[float, float]]) -> Iterator[Sequence[tuple[float, float]]]:
    """Yield the last 4, 8, 16 and so on of a row, and all of it."""
    length = SHORTEST_WINDOW
    while length < len(pairs):
        yield pairs[-length:]
        length *= 2
    if pairs:
        yield pairs


def _of_differences(pairs: Sequence[tuple[float, float]]) -> float:
    return _root_mean_square([difference for difference, _ in pairs])


def _of_noise(pairs: Sequence[tuple[float, float]]) -> float:
    return _root_mean_square([noise for _, noise in pairs])


def _pairs(
    differences: Sequence[float | None], noise: Sequence[float | None]
) -> list[tuple[float, float]]:
    """Return difference and noise of each position that has both."""
    pairs = []
    for ours, theirs in zip(differences, noise, strict=True):
        if ours is not None and theirs is not None:
            pairs.append((ours, theirs))
    return pairs


def _root_mean_square(values: Sequence[float]) -> float:
    squares = [value * value for value in values]
    return math.sqrt(sum(squares) / len(squares))


def _first(
    differences: Numbers, noise: Numbers | None, excess: float | None, *, floor: float
) -> dict[str, int] | None:
    """Return where the first difference is beyond the allowed excess of the noise."""
    if noise is None or excess is None or excess <= MOST_EXCESS:
        return None
    # One noise for all positions: at a single one it may be small by chance.
    typical = max(_root_mean_square(_numbers(noise)), floor)
    for row, values in enumerate(differences):
        for position, value in enumerate(values):
            if value is not None and value > MOST_EXCESS * typical:
                return {"row": row, "position": position}
    return None


def _numbers(rows: Numbers) -> list[float]:
    values = []
    for row in rows:
        values += [value for value in row if value is not None]
    return values
