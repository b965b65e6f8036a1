"""Steps in a history of ratios: found where there is one, and hardly ever where there is none."""

import numpy as np
import pytest

from jaxgen.report.steps import FEWEST_RUNS, find_steps

ERROR = 0.027 / 1.96
"""The standard error of an interval of ± 2.7 %."""


def history(rng, levels, *, error=ERROR, scatter=1.0):
    """Logs of ratios that scatter by so many times what their errors say."""
    errors = np.full(len(levels), error)
    return np.log(levels) + scatter * errors * rng.standard_normal(len(levels)), errors


@pytest.mark.parametrize(
    ("runs", "scatter"), [(5, 1.0), (10, 1.0), (30, 1.0), (10, 3.0), (30, 3.0)]
)
def test_no_step_is_marked_in_at_least_95_of_100_histories_without_one(runs, scatter):
    rng = np.random.default_rng(3)
    marked = 0
    for _ in range(200):
        marked += bool(find_steps(*history(rng, [2.0] * runs, scatter=scatter)))
    assert marked <= 0.05 * 200


def test_intervals_of_very_different_widths_raise_no_alarm():
    rng = np.random.default_rng(4)
    errors = np.tile([0.002, 0.05, 0.01], 8)
    marked = 0
    for _ in range(200):
        marked += bool(find_steps(errors * rng.standard_normal(24), errors))
    assert marked <= 0.05 * 200


@pytest.mark.parametrize(("before", "after"), [(10, 10), (4, 16), (16, 4), (6, 3)])
def test_a_step_of_a_tenth_is_found_in_twenty_of_twenty(before, after):
    rng = np.random.default_rng(5)
    others = 0
    for _ in range(20):
        steps = find_steps(*history(rng, [2.0] * before + [1.8] * after))
        step = min(steps, key=lambda step: step.p_value)
        assert abs(step.index - before) <= 1
        assert step.change == pytest.approx(-0.1, abs=0.03)
        assert step.p_value <= 0.01
        others += len(steps) - 1
    # Both parts of each history may raise an alarm of their own.
    assert others <= 2


def test_the_direction_is_that_of_the_ratio():
    rng = np.random.default_rng(6)
    (step,) = find_steps(*history(rng, [1.8] * 8 + [2.0] * 8))
    assert step.change == pytest.approx(0.11, abs=0.03)


def test_two_steps_are_found_in_their_order():
    rng = np.random.default_rng(7)
    steps = find_steps(*history(rng, [2.0] * 10 + [1.7] * 10 + [2.2] * 10))
    assert [step.index for step in steps] == [10, 20]
    assert [step.change > 0 for step in steps] == [False, True]


@pytest.mark.parametrize("place", [0, 1, 6, 10, 11])
@pytest.mark.parametrize("offset", [-0.3, 0.3])
def test_one_odd_run_is_no_step(place, offset):
    rng = np.random.default_rng(9)  # its history has no step by itself
    logs, errors = history(rng, [2.0] * 12)
    logs[place] += offset
    assert find_steps(logs, errors) == []


def test_narrow_intervals_weigh_more_than_wide_ones():
    logs = [0.0, 0.3, 0.0, 0.0, -0.1, -0.1, 0.2, -0.1]
    errors = [0.01, 0.3, 0.01, 0.01, 0.01, 0.01, 0.3, 0.01]
    (step,) = find_steps(logs, errors)
    assert step.index == 4
    assert step.change == pytest.approx(np.expm1(-0.1), abs=0.005)


def test_a_history_has_the_same_steps_each_time():
    rng = np.random.default_rng(9)
    drawn = history(rng, [2.0] * 10 + [1.9] * 10)
    assert find_steps(*drawn) == find_steps(*drawn)


@pytest.mark.parametrize("runs", range(2 * FEWEST_RUNS))
def test_too_short_a_history_has_no_step(runs):
    assert find_steps([0.0] * runs, [0.01] * runs) == []
