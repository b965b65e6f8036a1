"""Where a history of ratios makes a step: a changepoint test that is weighted by the intervals.

The statistic is the largest standardised difference of two weighted means, over all places where a
history can be cut (Hawkins, "Testing a sequence of observations for a shift in location", Journal
of the American Statistical Association 72, 1977). Further steps are found in the parts, by binary
segmentation (Scott and Knott, "A cluster analysis method for grouping means in the analysis of
variance", Biometrics 30, 1974).

Runs may scatter by more than their intervals say. How much more is estimated from neighbours, whose
difference holds a step at one place at most (von Neumann, "Distribution of the ratio of the mean
square successive difference to the variance", Annals of Mathematical Statistics 12, 1941), by their
median; all errors are widened by it (Birge, "The calculation of errors by the method of least
squares", Physical Review 40, 1932). One odd run among its neighbours is no step, and is replaced
by the nearer of them first. The p-value is that of simulated histories without a step, each treated
in the same way.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

LEVEL = 0.01
"""Of a hundred histories without any step about one has one marked."""

FEWEST_RUNS = 2
"""On either side of a step: one odd run is none."""

_SIMULATIONS = 1999
_ODD_FROM = 3.0  # errors beyond both neighbours
_MEDIAN_OF_SQUARE = 0.45494
"""The median of the square of a standard normal variable."""
_SMALLEST_ERROR = 1e-6


@dataclasses.dataclass(frozen=True)
class Step:
    """A change of level that lasts.

    Attributes:
        index: of the first value behind it.
        change: of the level, as a share (-0.1 is 10 % less).
        p_value: the share of histories without a step that look as much as if they had one.
    """

    index: int
    change: float
    p_value: float


def find_steps(logs: Sequence[float], errors: Sequence[float]) -> list[Step]:
    """Find the steps in a history.

    Args:
        logs: natural logarithms of the ratios, in the order of time.
        errors: of each its standard error.

    Returns:
        The steps in the order of time; none in fewer than four values.
    """
    values = np.asarray(logs)
    known = np.maximum(errors, _SMALLEST_ERROR)
    # A fixed seed: a history that is shown twice has the same steps.
    rng = np.random.default_rng(0)
    steps: list[Step] = []
    parts = [(0, len(values))]
    while parts:
        start, end = parts.pop()
        part = slice(start, end)
        step = _step_in(values[part], known[part], rng=rng)
        if step is None:
            continue
        place = start + step.index
        moved = dataclasses.replace(step, index=place)
        steps.append(moved)
        # Either side may have further steps.
        parts.append((start, place))
        parts.append((place, end))
    return sorted(steps, key=lambda step: step.index)


def _step_in(values: np.ndarray, errors: np.ndarray, *, rng: np.random.Generator) -> Step | None:
    """Return the most prominent step of one part, if it is beyond what chance does."""
    count = len(values)
    if count < 2 * FEWEST_RUNS:
        return None
    history = values[np.newaxis]
    surplus = _surplus(history, errors)
    spread = errors * np.sqrt(surplus)
    heights = _heights(history, errors)[0]
    p_value = _p_value(np.max(heights), errors, spread, rng=rng)
    if p_value > LEVEL:
        return None
    place = int(np.argmax(heights)) + FEWEST_RUNS
    steady = _without_odd_values(history, spread)[0]
    old = _weighted_mean(steady[:place], errors[:place])
    new = _weighted_mean(steady[place:], errors[place:])
    return Step(place, math.expm1(new - old), p_value)


def _p_value(
    height: float, errors: np.ndarray, spread: np.ndarray, *, rng: np.random.Generator
) -> float:
    """Return the share of histories without a step that have a place as high.

    Args:
        height: of the most prominent place.
        errors: of the runs, by their intervals.
        spread: how far the runs scatter.
        rng: draws the histories.
    """
    drawn = rng.standard_normal((_SIMULATIONS, len(errors)))
    # Each simulated history has its own surplus estimated, as this one had.
    simulated = _heights(spread * drawn, errors)
    highest = np.max(simulated, axis=1)
    # The history itself counts among them, so that no p-value is 0.
    as_high = 1 + int(np.sum(highest >= height))
    return as_high / (1 + _SIMULATIONS)


def _heights(histories: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the standardised difference of the means on both sides of each possible place.

    Args:
        histories: (histories, runs).
        errors: (runs,).

    Returns:
        (histories, places).
    """
    surplus = _surplus(histories, errors)
    widening = np.sqrt(surplus)[:, np.newaxis]
    steady = _without_odd_values(histories, widening * errors)
    weights = errors**-2
    # Sums up to each place: the weights are the same in all histories.
    weight_sums = np.cumsum(weights)
    value_sums = np.cumsum(steady * weights, axis=1)
    places = slice(FEWEST_RUNS - 1, len(errors) - FEWEST_RUNS)
    left = weight_sums[places]
    right = weight_sums[-1] - left
    sum_left = value_sums[:, places]
    sum_right = value_sums[:, -1:] - sum_left
    difference = sum_right / right - sum_left / left
    deviation = np.sqrt(1 / left + 1 / right)
    return np.abs(difference) / (deviation * widening)


def _without_odd_values(histories: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Replace values that lie far beyond both of their neighbours by the nearer of the two.

    A step lasts for two runs at least, so that one of its neighbours is on its own side.
    """
    left = np.roll(histories, 1, axis=1)
    right = np.roll(histories, -1, axis=1)
    # The first and the last have two neighbours on one side.
    left[:, 0] = histories[:, 2]
    right[:, -1] = histories[:, -3]
    lowest = np.minimum(left, right)
    highest = np.maximum(left, right)
    between = np.clip(histories, lowest, highest)
    distance = np.abs(histories - between)
    is_odd = distance > _ODD_FROM * errors
    return np.where(is_odd, between, histories)


def _surplus(histories: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return by how much the variance of each history is above that of its errors; at least 1."""
    squares = errors**2
    expected = squares[1:] + squares[:-1]
    differences = np.diff(histories, axis=1)
    relative = differences**2 / expected
    surplus = np.median(relative, axis=1)
    return np.maximum(1.0, surplus / _MEDIAN_OF_SQUARE)


def _weighted_mean(values: np.ndarray, errors: np.ndarray) -> float:
    weights = errors**-2
    mean = np.average(values, weights=weights)
    return float(mean)
