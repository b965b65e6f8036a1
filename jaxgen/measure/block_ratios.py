"""The mean log ratio of each block of trials: what a study keeps of its measurements."""

import math
from collections.abc import Sequence

import numpy as np

from jaxgen.results.schema import Direction, TrialRow


def block_log_ratios(rows: Sequence[TrialRow], *, metric: str, better: Direction) -> list[float]:
    """Return the mean log ratio of each block, in the order of the blocks.

    Args:
        rows: trials of one case in one pair of processes; void ones and those without a partner
            count nowhere.
        metric: its name.
        better: which way it points; above 0 the candidate is better.
    """
    pairs: dict[tuple[int, int], dict[str, float]] = {}
    for row in rows:
        value = row["metrics"][metric]
        # What is not positive has no logarithm; the samples' own checks name it.
        if row["void"] or value is None or value <= 0:
            continue
        place = (row["block"], row["pair"])
        pair = pairs.setdefault(place, {})
        pair[row["arm"]] = value
    blocks: dict[int, list[float]] = {}
    for place in sorted(pairs):
        pair = pairs[place]
        if len(pair) < 2:
            continue
        ratio = pair["candidate"] / pair["baseline"]
        if better == "lower":
            ratio = 1 / ratio
        block, _ = place
        log_ratios = blocks.setdefault(block, [])
        log_ratios.append(math.log(ratio))
    return [float(np.mean(log_ratios)) for log_ratios in blocks.values()]


def standard_error(means: Sequence[float]) -> float | None:
    """Return the standard error of the mean of block means; null below two blocks."""
    if len(means) < 2:
        return None
    deviation = float(np.std(means, ddof=1))
    return deviation / math.sqrt(len(means))
