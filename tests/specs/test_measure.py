"""The plan of a measurement: what is impossible, and what stands for what nobody asked for."""

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import UserError
from jaxgen.specs.measure import DEFAULT_MARGIN, Measure


@pytest.mark.parametrize("key", ["max_seconds", "min_trial_s"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_a_time_is_a_finite_number(key, value):
    with pytest.raises(UserError, match=f"measure.{key}={value} must be "):
        Measure(**{key: value})


def test_an_infinite_time_is_told_with_what_to_try():
    with pytest.raises(UserError, match=r"measure\.max_seconds=inf must be a finite number"):
        load_experiment(["measure.max_seconds=inf"])


@pytest.mark.parametrize("value", [0.0, -0.1, 1.0, float("nan"), float("inf")])
def test_an_impossible_width_is_refused(value):
    with pytest.raises(UserError, match=r"measure\.target_ci="):
        Measure(target_ci=value)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_an_impossible_margin_is_refused(value):
    with pytest.raises(UserError, match=r"measure\.margin="):
        Measure(margin=value)


@pytest.mark.parametrize(
    ("plan", "width", "when_settled"),
    [
        ({}, 0.01, True),
        ({"margin": 0.1}, 0.05, True),
        ({"target_ci": 0.3}, 0.3, False),
        ({"margin": 0.1, "target_ci": 0.3}, 0.3, False),
        ({"margin": 0.0}, 0.01, False),
    ],
)
def test_the_wanted_width_is_half_the_margin_unless_one_is_given(plan, width, when_settled):
    measure = Measure(**plan)
    assert measure.wanted_half_width == width
    assert measure.stops_when_settled is when_settled


def test_the_margin_is_two_percent_unless_one_is_given():
    assert (Measure().least_difference, DEFAULT_MARGIN) == (0.02, 0.02)
    assert Measure(margin=0.0).least_difference == 0.0


@pytest.mark.parametrize(
    ("plan", "count"),
    [
        ({}, 2),
        ({"processes": 5}, 5),
        ({"blocks": 3, "processes": 6}, 3),
        ({"blocks": 4}, 2),
        ({"blocks": 3}, 1),
        ({"blocks": 1}, 1),
    ],
)
def test_no_process_is_started_that_gets_too_few_blocks(plan, count):
    assert Measure(**plan).num_processes == count


@pytest.mark.parametrize(
    ("option", "processes", "blocks"), [("default", 2, 48), ("quick", 1, 8), ("thorough", 6, 150)]
)
def test_the_plans_have_as_many_starts_as_their_claims_need(option, processes, blocks):
    plan = load_experiment([f"measure={option}"]).measure
    assert (plan.num_processes, plan.blocks, plan.trials) == (processes, blocks, 1)


def test_a_job_that_is_joined_once_has_one_start():
    job = ["mesh=tensor", "mesh.tensor=2", "mesh.processes=auto", "baseline=off"]
    assert load_experiment(job).measure.num_processes == 1


def test_counted_calls_are_shared_out_and_neither_width_nor_time_ends_them():
    plan = Measure(max_seconds=1.0).for_calls(20)
    assert (plan.trials * plan.blocks, plan.num_processes) == (20, 2)
    assert not plan.stops_when_settled
    assert not plan.limited_by_time
