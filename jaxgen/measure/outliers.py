"""The trials that stand out: named in the result, and never dropped.

A slow trial is a fact about the machine, and to leave it out would make every interval narrower
than it is.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

MIN_SAMPLES = 5  # with fewer, the deviation that is usual hangs on one or two of them
NOTABLE_SCORE = 3.5
LEAST_DEVIATION = 1e-9  # of a logarithm: nearer than this, samples are the same but for rounding


def outliers(trials: Iterable[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Name each trial whose metric lies far from the others of its arm, to either side.

    Far is a modified z-score above 3.5, 0.6745 |x - median| / MAD, where MAD is the median absolute
    deviation (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993), of the metric's
    logarithm: half the speed is then as far as twice the speed. Where more than half of the samples
    are the same the MAD is 0, and the mean absolute deviation over 0.7979, which too is the
    standard deviation of normal samples, stands in for MAD / 0.6745.

    Args:
        trials: rows as a run keeps them: {"process", "block", "pair", "arm", "metrics": {name:
            value or None}, ...}. Those with a true "void" are left out.
        metric: the name of the metric, whose values are positive.

    Returns:
        {"process", "block", "pair", "arm", "value", "times_median"} of each, in the order of the
        trials; `value` in the metric's unit, `times_median` 2.0 where it is twice the arm's median.
        An arm of fewer than 5 samples has none.
    """
    measured = []
    values_of: dict[str, list[float]] = {}
    for trial in trials:
        value = trial["metrics"].get(metric)
        if value is not None and not trial.get("void"):
            measured.append(trial)
            values_of.setdefault(trial["arm"], []).append(value)
    usual = {}
    for arm, values in values_of.items():
        usual[arm] = _median_and_deviation(np.log(values))
    found = []
    for trial in measured:
        value = trial["metrics"][metric]
        median, deviation = usual[trial["arm"]]
        distance = abs(math.log(value) - median)
        if distance > NOTABLE_SCORE * deviation:
            outlier = {
                "process": trial["process"],
                "block": trial["block"],
                "pair": trial["pair"],
                "arm": trial["arm"],
                "value": value,
                "times_median": value / math.exp(median),
            }
            found.append(outlier)
    return found


def _median_and_deviation(logs: np.ndarray) -> tuple[float, float]:
    """Return the median and the usual deviation from it, infinite where none is known."""
    median = float(np.median(logs))
    deviations = np.abs(logs - median)
    mad = float(np.median(deviations))
    # Half of normal samples lie within 0.6745 standard deviations of their median.
    usual = mad / 0.6745
    if mad <= LEAST_DEVIATION:  # more than half of the samples are the same
        usual = float(deviations.mean()) / 0.7979
    # No distance exceeds infinity, so that none of these samples stands out.
    if logs.size < MIN_SAMPLES or usual <= LEAST_DEVIATION:
        return median, math.inf
    return median, usual
