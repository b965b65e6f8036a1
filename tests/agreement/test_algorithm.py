"""How far apart two readings may lie: against steps of float32, and against their own noise."""

import pytest

from jaxgen.agreement.algorithm import (
    MOST_EXCESS,
    SURE_ULPS,
    ULP,
    algorithm_test,
    is_surely_rounding,
    reasons,
)

NOISE = 1e-6


def judged(differences, noise, *, spread=4.0):
    return algorithm_test(differences, noise, spread=spread, method="arms")


@pytest.mark.parametrize(("ulps", "sure"), [(SURE_ULPS * 0.99, True), (SURE_ULPS * 1.01, False)])
def test_a_few_steps_of_the_logits_are_sure_to_be_rounding(ulps, sure):
    assert is_surely_rounding([[0.0, ulps * ULP * 4.0, None]], spread=4.0) == sure
    assert not is_surely_rounding([[0.0]], spread=None)


def test_without_a_doubt_there_is_no_excess_and_no_reason():
    test = judged([[NOISE, 2 * NOISE], [None]], None)
    assert (test["positions"], test["largest_difference"]) == (2, 2 * NOISE)
    assert (test["excess"], test["first"], reasons(test)) == (None, None, [])


@pytest.mark.parametrize(
    ("times", "count"), [(0.9 * MOST_EXCESS, 0), (1.1 * MOST_EXCESS, 1)], ids=["less", "more"]
)
def test_the_excess_is_measured_by_the_noise(times, count):
    test = judged([[times * NOISE] * 6], [[NOISE] * 6])
    assert test["excess"] == pytest.approx(times)
    assert len(reasons(test)) == count


def test_a_bug_that_begins_late_is_not_diluted_by_what_comes_before():
    late = [NOISE] * 1000 + [40 * NOISE] * 4
    test = judged([late], [[NOISE] * 1004])
    assert test["excess"] == pytest.approx(40)
    assert test["first"] == {"row": 0, "position": 1000}
    (reason,) = reasons(test)
    assert "40 times as far apart as rounding" in reason
    assert reason.endswith("first in row 0 at position 1000")


def test_a_single_number_without_noise_of_its_own_is_held_against_all_of_it():
    test = judged([[NOISE], [2 * NOISE]], [[0.0], [2 * NOISE]])
    assert test["excess"] < 2


def test_equal_sums_leave_the_logits_own_step_as_noise():
    spread = 4.0
    test = judged([[5 * ULP * spread] * 4], [[0.0] * 4], spread=spread)
    assert test["excess"] == pytest.approx(5)


def test_nothing_compared_is_no_excess():
    test = judged([[None, None]], [[None, None]])
    assert (test["positions"], test["excess"], test["largest_difference"]) == (0, None, None)


def test_shadows_are_named():
    test = algorithm_test([[1.0] * 4], [[NOISE] * 4], spread=1.0, method="float32 shadows")
    assert reasons(test)[0].startswith("in float32, on the same tokens")


def test_what_is_no_number_in_a_shadow_is_a_reason_and_named():
    test = algorithm_test(
        [[None, 0.0]], None, spread=4.0, method="float32 shadows", broken="candidate"
    )
    assert reasons(test) == ["in float32, the candidate's logits hold NaN or Inf"]


def test_without_any_noise_the_first_place_is_that_of_the_fault():
    test = judged([[1e-9] * 7 + [1e-2]], [[0.0] * 8])
    assert test["first"] == {"row": 0, "position": 7}
