"""The interval of the best of several points: wider by what a choice among them adds."""

import math

import numpy as np
import pytest

from jaxgen.measure.simultaneous import simultaneous_interval
from jaxgen.measure.start_spread import StartSpread
from jaxgen.measure.statistics import compare_pairs
from support.simulated_pairs import make_pairs

EXACT = StartSpread(0.0, 100, "all alike")


def compared(*, processes=1, blocks=12, start=EXACT, seed=0, spread=0.03):
    rng = np.random.default_rng(seed)
    pairs = []
    for process in range(processes):
        pairs += make_pairs(rng.normal(0, spread, (blocks, 1)), process=process)
    return compare_pairs(pairs, better="higher", start=start)


def half_width(interval):
    return math.log(interval[1] / interval[0]) / 2


@pytest.mark.parametrize("processes", [1, 2, 6])
def test_of_one_point_it_is_the_interval_itself(processes):
    for start in (EXACT, StartSpread(0.01, 13, "of a test")):
        comparison = compared(processes=processes, start=start)
        assert simultaneous_interval(comparison, count=1) == pytest.approx(comparison["ci95"])


def test_of_24_points_it_is_as_much_wider_as_bonferroni_asks():
    """With 11 degrees of freedom t is 2.201 at 2.5 % and 3.934 at 2.5 % / 24."""
    comparison = compared(blocks=12)
    wide = simultaneous_interval(comparison, count=24)
    assert half_width(wide) / half_width(comparison["ci95"]) == pytest.approx(
        3.95 / 2.201, rel=0.02
    )
    assert math.sqrt(wide[0] * wide[1]) == pytest.approx(comparison["ratio"])


def test_what_starts_add_is_widened_by_its_own_degrees_of_freedom():
    start = StartSpread(0.02, 7, "of a test")
    comparison = compared(spread=1e-9, start=start)
    # Student's t of 7 degrees of freedom at 2.5 % and at 0.25 %.
    wide = half_width(simultaneous_interval(comparison, count=10))
    assert wide / half_width(comparison["ci95"]) == pytest.approx(4.0293 / 2.3646, rel=1e-3)


def test_the_best_of_many_equal_points_is_no_winner():
    """Of 12 equal points the best by its own interval would be called different far too often."""
    wrong_alone, wrong, sweeps = 0, 0, 200
    for sweep in range(sweeps):
        points = [compared(seed=100 * sweep + point) for point in range(12)]
        best = max(points, key=lambda point: point["ratio"])
        wrong_alone += best["ci95"][0] > 1
        wrong += simultaneous_interval(best, count=12)[0] > 1
    assert wrong_alone / sweeps > 0.15
    assert wrong / sweeps <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / sweeps)


def test_without_an_interval_there_is_none():
    comparison = compare_pairs(make_pairs([[0.1]]), better="higher")
    assert simultaneous_interval(comparison, count=5) is None


def test_an_older_result_without_a_start_spread_is_widened_too():
    comparison = compared()
    old = {key: comparison[key] for key in ("ratio", "ci95", "blocks", "pairs")}
    assert simultaneous_interval(old, count=4) == pytest.approx(
        simultaneous_interval(comparison | {"start_spread": None}, count=4)
    )
