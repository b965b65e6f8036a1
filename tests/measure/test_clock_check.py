"""Two clocks over the same trials: which errors are found, and which delays are none."""

import numpy as np
import pytest

from jaxgen.measure.clock_check import ClockCheck, TimedTrial, check

CALLS_S, BESIDE_S, REQUEST_S = 0.1, 0.004, 0.0004
WITHOUT_CALLS = [
    TimedTrial(0.0, took_s, took_s, took_s + REQUEST_S) for took_s in (0.0038, 0.0042, 0.004)
]


def trials(count, *, clock=1.0, process_clock=1.0, late_s=None):
    """Trials of 100 ms whose arm has a clock; `late_s` says how late each reply is noticed.

    `process_clock` is the speed of the worker's own clock, and so of all that it says.
    """
    late_s = [0.0] * count if late_s is None else late_s
    made = []
    for late in late_s:
        total_s = CALLS_S + BESIDE_S
        told = [clock * process_clock * CALLS_S, process_clock * BESIDE_S, process_clock * total_s]
        made.append(TimedTrial(*told, wall_s=total_s + REQUEST_S + late))
    return made


def checked(*args) -> ClockCheck:
    compared = check(*args)
    assert compared is not None
    return compared


@pytest.mark.parametrize("clock", [0.9, 1.1, 0.5, 2.0, 1e-3])
@pytest.mark.parametrize("count", [4, 8, 200])
def test_a_clock_that_is_wrong_by_a_tenth_or_more_is_found(clock, count):
    problem = checked(trials(count, clock=clock), WITHOUT_CALLS).problem
    assert problem is not None
    assert problem.startswith(
        f"claims {1e3 * clock * CALLS_S:.4g} ms of a trial that took 104.4 ms"
    )


@pytest.mark.parametrize("clock", [0.8, 1.1, 0.5, 2.0, 1e-3])
@pytest.mark.parametrize("count", [8, 200])
def test_a_process_whose_every_clock_is_wrong_is_found_by_the_parent_s(clock, count):
    problem = checked(trials(count, process_clock=clock), WITHOUT_CALLS).problem
    assert problem is not None
    assert "of a trial that took 104.4 ms by the parent's clock" in problem


@pytest.mark.parametrize("clock", [0.99, 1.0, 1.01])
def test_a_clock_that_is_nearly_right_is_left_alone(clock):
    assert checked(trials(8, clock=clock), WITHOUT_CALLS).problem is None


@pytest.mark.parametrize("kind", ["clock", "process_clock"])
def test_what_is_found_is_no_smaller_than_what_is_said(kind):
    compared = checked(trials(8), WITHOUT_CALLS)
    smallest = compared.smallest_worker_error
    if kind == "clock":
        smallest = compared.smallest_error
    found = []
    for error in (0.8 * smallest, 1.2 * smallest):
        problem = checked(trials(8, **{kind: 1 - error}), WITHOUT_CALLS).problem
        found.append(problem is not None)
    assert found == [False, True]
    assert compared.smallest_error < 0.03 < compared.smallest_worker_error < 0.2


def test_right_clocks_on_a_busy_machine_are_left_alone():
    """In 200 runs of 6 trials, one reply in two is noticed up to 40 ms late."""
    random = np.random.default_rng(7)
    for _ in range(200):
        late_s = random.exponential(0.015, 6) * (random.random(6) < 0.5)
        assert checked(trials(6, late_s=late_s), WITHOUT_CALLS).problem is None


def test_one_late_reply_is_no_reason_where_there_is_one_trial():
    assert checked(trials(1, late_s=[0.015]), WITHOUT_CALLS).problem is None


def test_a_clock_that_runs_too_fast_is_found_among_late_replies():
    late_s = [0.03, 0.0, 0.002, 0.0, 0.001, 0.0]
    assert checked(trials(6, clock=1.1, late_s=late_s), WITHOUT_CALLS).problem is not None


def test_work_that_hides_outside_the_clock_is_found():
    """Such as a call that returns before the device is done: copying the outputs then waits."""
    made = [TimedTrial(0.06, BESIDE_S + 0.04, 0.104, 0.1044)] * 4
    problem = checked(made, WITHOUT_CALLS).problem
    assert problem is not None
    assert "44 ms of work lie outside its clock, where there should be 9.2 ms at most" in problem


def test_without_a_trial_or_a_request_without_calls_there_is_no_comparison():
    assert check([], WITHOUT_CALLS) is None
    assert check(trials(3), []) is None
