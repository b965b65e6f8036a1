"""Trials that stand out are named, with where they are and how far out; the others are not."""

import json

import numpy as np
import pytest

from jaxgen.measure.outliers import outliers


def trials(values, arm="candidate", **columns):
    return [
        {
            "process": 0,
            "block": number // 4,
            "pair": number % 4,
            "arm": arm,
            "metrics": {"latency_s": value},
            **columns,
        }
        for number, value in enumerate(values)
    ]


STEADY = [1.00, 1.01, 0.99, 1.02, 0.98, 1.00, 1.01, 0.99]


def test_a_spike_is_named_with_its_place_and_size():
    found = outliers(trials([*STEADY, 1.3]), "latency_s")
    assert found == [
        {
            "process": 0,
            "block": 2,
            "pair": 0,
            "arm": "candidate",
            "value": 1.3,
            "times_median": pytest.approx(1.3),
        }
    ]
    assert json.loads(json.dumps(found)) == found


def test_the_fast_side_counts_as_far_as_the_slow_one():
    slow, fast = (len(outliers(trials([*STEADY, value]), "latency_s")) for value in (1.3, 1 / 1.3))
    assert (slow, fast) == (1, 1)


@pytest.mark.parametrize(("deviations", "named"), [(3.4, 0), (3.6, 1)])
def test_the_limit_is_a_modified_z_score_of_3_5(deviations, named):
    # Logarithms -2 .. 2 twice over and one beyond: median 0, MAD 1.
    logs = [-2, -1, -1, 0, 0, 0, 1, 1, 2, deviations / 0.6745]
    assert np.median(np.abs(np.array(logs) - np.median(logs))) == 1
    assert (
        len(outliers(trials([float(np.exp(0.01 * each)) for each in logs]), "latency_s")) == named
    )


def test_an_arm_is_judged_by_its_own_samples():
    rows = trials(STEADY) + trials([12.3 * value for value in STEADY], "baseline")
    assert outliers(rows, "latency_s") == []


def test_one_that_differs_among_equal_ones_is_named():
    """The median absolute deviation is 0 here."""
    assert [each["value"] for each in outliers(trials([1.0] * 9 + [1.1]), "latency_s")] == [1.1]


def test_equal_samples_have_no_outliers():
    assert (
        outliers(trials([0.1 + 0.2] * 5 + [0.3] * 4), "latency_s") == []
    )  # equal but for rounding


@pytest.mark.parametrize(("n", "named"), [(4, 0), (5, 1)])
def test_five_samples_are_needed(n, named):
    assert len(outliers(trials([*STEADY[: n - 1], 2.0]), "latency_s")) == named


def test_void_and_missing_values_are_left_out():
    rows = trials([*STEADY, None]) + trials([100.0], void=True)
    assert outliers(rows, "latency_s") == []


def test_few_trials_of_plain_noise_are_named():
    rng = np.random.default_rng(0)
    named = sum(
        len(outliers(trials(np.exp(rng.normal(0, 0.02, 48)).tolist()), "latency_s"))
        for _ in range(100)
    )
    assert named < 0.005 * 100 * 48
