"""The interval's parts against formulas: blocks, starts, processes, and what is still to come."""

import math

import numpy as np
import pytest

from jaxgen.measure.interval import (
    Centres,
    centres_of,
    log_half_width,
    pooled,
    predicted_half_width,
    starts_are_wider,
)
from jaxgen.measure.start_spread import StartSpread

START = StartSpread(0.01, 7, "of a test")
T_7 = 2.3646


def nested(rows):
    return [[np.array(block, dtype=float) for block in process] for process in rows]


def test_blocks_count_equally_in_a_process_and_processes_in_a_run():
    centres = centres_of(nested([[[1, 1, 1], [3]], [[5], [5], [5]]]))
    assert centres.means.tolist() == [2.0, 5.0]
    assert centres.centre == pytest.approx(3.5)
    # Squares of 1 and 1 about 2, none about 5; five blocks less two means.
    assert centres.freedom == 3
    assert centres.variances == pytest.approx([2 / 3 / 2, 2 / 3 / 3])


@pytest.mark.parametrize(("processes", "quantile"), [(1, 2.2010), (2, 2.0739), (3, 2.0345)])
def test_below_four_processes_it_is_the_root_sum_of_squares_of_both_parts(processes, quantile):
    counts = np.full(processes, 12)
    centres = pooled(np.zeros(processes), np.array(11 * processes * 0.02**2), counts)
    inside = quantile * 0.02 / math.sqrt(12 * processes)
    expected = math.hypot(inside, T_7 * 0.01 / math.sqrt(processes))
    assert log_half_width(centres, START) == pytest.approx(expected, rel=1e-4)


def test_from_four_processes_on_nothing_but_their_means_counts():
    means = np.array([-0.02, 0.0, 0.0, 0.02])
    for noise in (0.0, 0.5):
        centres = Centres(means, np.full(4, noise), np.array(40))
        expected = 3.1824 * math.sqrt(2 * 0.02**2 / 3) / 2
        assert log_half_width(centres, START) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("apart", "is_wider"), [(0.0, False), (0.02, False), (0.09, True)])
def test_processes_are_held_against_what_is_known_of_starts(apart, is_wider):
    centres = Centres(np.array([0.0, apart]), np.full(2, 1e-6), np.array(22))
    assert starts_are_wider(centres, START) == is_wider
    student = 12.7062 * apart / 2
    if is_wider:
        assert log_half_width(centres, START) == pytest.approx(student, rel=1e-4)
    else:
        assert log_half_width(centres, START) == pytest.approx(T_7 * 0.01 / 2**0.5, rel=0.02)


def test_noisy_blocks_explain_processes_that_lie_apart():
    centres = Centres(np.array([0.0, 0.09]), np.full(2, 0.05**2), np.array(22))
    assert not starts_are_wider(centres, START)


def test_one_process_cannot_be_held_against_anything():
    assert not starts_are_wider(Centres(np.array([0.5]), np.array([1e-9]), np.array(11)), START)


def test_one_block_in_each_of_two_processes_is_students_interval_of_the_two():
    centres = centres_of(nested([[[0.01]], [[0.03]]]))
    assert log_half_width(centres, START) == pytest.approx(12.7062 * 0.01, rel=1e-4)


def test_what_is_predicted_of_equal_processes_is_what_they_come_to():
    one = Centres(np.array([0.0]), np.array([0.004**2]), np.array(200))
    three = Centres(np.zeros(3), np.full(3, 0.004**2), np.array(600))
    predicted = predicted_half_width(one, START, processes=3)
    assert predicted == pytest.approx(float(log_half_width(three, START)), rel=0.01)


def test_six_processes_are_predicted_to_differ_as_starts_and_blocks_do():
    one = Centres(np.array([0.0]), np.array([0.004**2]), np.array(200))
    expected = 2.5706 * math.hypot(0.01, 0.004) / math.sqrt(6)
    assert predicted_half_width(one, START, processes=6) == pytest.approx(expected, rel=1e-4)


def test_the_last_process_is_not_predicted():
    centres = Centres(np.array([0.0, 0.01]), np.full(2, 1e-5), np.array(22))
    assert predicted_half_width(centres, START, processes=2) == log_half_width(centres, START)
