"""Trends that are there and trends that are not, and what the note says of them."""

import math

import numpy as np
import pytest

from jaxgen.measure.drift import drift, drift_note

NAMES = {"candidate": "cache=fixed", "baseline": "cache=none"}


def trials(values, arm="candidate", **columns):
    return [{"arm": arm, "metrics": {"latency_s": value}, **columns} for value in values]


def geometric(change, n=20):
    """From 1 to 1 + change, by the same factor each time."""
    return [(1 + change) ** (number / (n - 1)) for number in range(n)]


@pytest.mark.parametrize("change", [0.2, -0.2])
def test_a_steady_trend_is_told_as_the_change_from_first_to_last(change):
    found = drift(trials(geometric(change)), "latency_s")["candidate"]
    assert found["change"] == pytest.approx(change)
    assert found["p_value"] < 1e-6


def test_each_arm_has_its_own_trend():
    rows = trials(geometric(0.2)) + trials(geometric(-0.1), "baseline")
    assert {arm: round(each["change"], 3) for arm, each in drift(rows, "latency_s").items()} == {
        "candidate": 0.2,
        "baseline": -0.1,
    }


def test_spikes_do_not_bend_the_trend():
    values = geometric(0.0)
    values[-1] = values[4] = 3.0
    found = drift(trials(values), "latency_s")["candidate"]
    assert found["change"] == pytest.approx(0.0, abs=1e-9)
    assert found["p_value"] > 0.05


@pytest.mark.parametrize(("n", "known"), [(7, False), (8, True)])
def test_a_trend_needs_eight_samples(n, known):
    found = drift(trials(geometric(0.2, n)), "latency_s")["candidate"]
    assert (found["change"] is not None, found["p_value"] is not None) == (known, known)


def test_samples_that_are_all_the_same_have_no_trend_and_no_p():
    assert drift(trials([0.5] * 10), "latency_s")["candidate"] == {"change": 0.0, "p_value": None}


def test_void_trials_do_not_count():
    rows = trials(geometric(0.2)) + trials([100.0] * 3, void=True)
    assert drift(rows, "latency_s")["candidate"]["change"] == pytest.approx(0.2)


def test_a_trial_without_a_value_keeps_its_place():
    values = geometric(0.2)
    values[3] = values[4] = None
    assert drift(trials(values), "latency_s")["candidate"]["change"] == pytest.approx(0.2)


def test_no_trials_have_no_trend():
    assert drift([], "latency_s") == {}


def test_noise_without_a_trend_is_not_noted():
    rng = np.random.default_rng(0)
    notes = [
        drift_note(drift(trials(np.exp(rng.normal(0, 0.03, 28))), "latency_s"), NAMES)
        for _ in range(200)
    ]
    assert sum(note is not None for note in notes) <= 2


def test_the_note_names_the_arms_that_drift():
    found = {
        "candidate": {"change": 0.072, "p_value": 0.0021},
        "baseline": {"change": -0.08, "p_value": 1e-9},
    }
    note = drift_note(found, NAMES)
    assert "cache=fixed drifted by +7.2 % from its first trial to its last (p = 0.0021)" in note
    assert "cache=none drifted by -8.0 % from its first trial to its last (p < 0.0001)" in note


@pytest.mark.parametrize(
    "each",
    [
        {"change": 0.049, "p_value": 1e-6},
        {"change": 0.3, "p_value": 0.02},
        {"change": None, "p_value": None},
        {"change": 0.0, "p_value": None},
    ],
)
def test_a_drift_that_is_small_or_unsure_or_unknown_is_not_noted(each):
    assert drift_note({"candidate": each}, NAMES) is None


def test_a_drift_is_plain_numbers():
    found = drift(trials(geometric(0.2)), "latency_s")["candidate"]
    assert {type(value) for value in found.values()} == {float}
    assert math.isfinite(found["p_value"])
