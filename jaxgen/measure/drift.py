"""Whether the machine changed while it was measured: a trend of a metric over an arm's trials.

Pairs cancel most of a drift in the ratio; the absolute figures keep it, so that the result names
it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

MIN_SAMPLES = 8  # with fewer, Kendall's p is coarse, and one slow trial makes the slope
NOTABLE_P, NOTABLE_CHANGE = 0.01, 0.05


def drift(trials: Iterable[Mapping[str, Any]], metric: str) -> dict[str, dict[str, float | None]]:
    """Fit a trend to each arm's metric over the order of its trials.

    The slope is Theil's and Sen's, the median of the slopes between all two samples (Sen,
    "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63, 1968), of the
    metric's logarithm over the trial's number: a few spikes do not move it. The p is that of
    Kendall's tau, two-sided. It takes the trials as independent, which those of one block or
    process are not quite, so that a small p alone says little: `drift_note` asks for a large change
    as well.

    Args:
        trials: rows as a run keeps them, in the order of their time: {"arm", "metrics": {name:
            value or None}, ...}. Those with a true "void" are left out.
        metric: the name of the metric, whose values are positive.

    Returns:
        {arm: {"change": share, "p_value": p}}: what the trend makes of the metric from the first
        trial to the last (-0.07 = it fell by 7 %). Both are None below 8 samples; p alone is None
        where all samples are the same.
    """
    values: dict[str, list[float | None]] = {}
    for trial in trials:
        if not trial.get("void"):
            of_arm = values.setdefault(trial["arm"], [])
            of_arm.append(trial["metrics"].get(metric))
    return {arm: _trend(series) for arm, series in values.items()}


def drift_note(
    drift: Mapping[str, Mapping[str, float | None]], names: Mapping[str, str]
) -> str | None:
    """Write one sentence where an arm drifts notably (p below 0.01, by more than 5 %), else None.

    Args:
        drift: as `drift` gives it.
        names: what to call each arm.
    """
    clauses = []
    for arm, trend in drift.items():
        change, p = trend["change"], trend["p_value"]
        if change is None or p is None:
            continue
        # Both: with many trials a small p alone would name trends that do not matter.
        if p < NOTABLE_P and abs(change) > NOTABLE_CHANGE:
            percent = f"{100 * change:+.1f} %"
            how_far = f"{percent} from its first trial to its last"
            evidence = _in_words(p)
            name = names[arm]
            clauses.append(f"{name} drifted by {how_far} ({evidence})")
    if not clauses:
        return None
    return (
        f"{' and '.join(clauses)}: the ratio is taken pair by pair and hardly feels it, "
        "but the figures of each arm do"
    )


def _in_words(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def _trend(series: list[float | None]) -> dict[str, float | None]:
    """Fit the trend of one arm; a trial without a value keeps its place in the order."""
    numbers, logs = [], []
    for number, value in enumerate(series):
        if value is not None:
            numbers.append(number)
            # A slope of logarithms is a relative change, whatever the unit and level of the metric.
            logs.append(math.log(value))
    if len(logs) < MIN_SAMPLES:
        return {"change": None, "p_value": None}
    from scipy import stats  # a second and a half, which a short run need not pay

    fit: Any = stats.theilslopes(logs, numbers)  # Any: scipy types no fields
    slope = float(fit.slope)
    change = math.expm1(slope * (len(series) - 1))
    # Tau divides by the number of pairs that differ: of equal samples it is not defined.
    if len(set(logs)) == 1:
        return {"change": change, "p_value": None}
    tau: Any = stats.kendalltau(numbers, logs)
    return {"change": change, "p_value": float(tau.pvalue)}
