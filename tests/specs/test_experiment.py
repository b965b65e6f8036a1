"""What no experiment can measure is said before anything is loaded."""

import dataclasses

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import UserError
from jaxgen.specs.cache import Fixed, Paged
from jaxgen.specs.experiment import REPORTING_SLOTS, SHARED_SLOTS, SLOTS
from jaxgen.specs.measure import Isolation, Measure
from jaxgen.specs.run import ARM_SLOTS, Process
from jaxgen.specs.workload import Batching
from support import small_models
from support.small_runs import experiment_of, two_arms


def test_every_slot_belongs_to_an_arm_or_to_both():
    assert ARM_SLOTS.keys().isdisjoint(SHARED_SLOTS)
    assert SLOTS.keys() == ARM_SLOTS.keys() | SHARED_SLOTS.keys()
    assert set(REPORTING_SLOTS) < set(SHARED_SLOTS)
    assert Fixed in SLOTS["cache"]
    assert SLOTS["measure"] == (Measure,)


@pytest.mark.parametrize("name", ["candidate", "baseline"])
def test_a_shared_process_has_no_settings_of_one_arm(name):
    arms = two_arms()
    run = dataclasses.replace(arms[name].run, process=Process(xla_flags="--xla"))
    arms[name] = dataclasses.replace(arms[name], run=run)
    with pytest.raises(UserError, match=r"measure\.isolation=shared cannot give") as raised:
        experiment_of(arms, measure=Measure(isolation=Isolation.shared))
    assert str(raised.value).startswith("in the baseline: ") is (name == "baseline")


def test_a_short_warm_up_needs_static_batching():
    arms = two_arms()
    run = small_models.run(cache=Paged(), batching=Batching.continuous)
    arms["candidate"] = dataclasses.replace(arms["candidate"], run=run)
    with pytest.raises(UserError, match=r"warmup_tokens needs workload\.batching=static"):
        experiment_of(arms, measure=Measure(warmup_tokens=3))


def test_what_a_job_joined_once_cannot_do_is_listed_together():
    overrides = ["mesh=tensor", "mesh.tensor=2", "mesh.processes=auto", "baseline=off"]
    with pytest.raises(UserError) as raised:
        load_experiment([*overrides, "measure.processes=2", "measure.startup=cold"])
    message = str(raised.value)
    assert message.startswith("a mesh of 2 devices is impossible here: measure.processes=2 needs")
    assert "; measure.startup needs processes of its own" in message


def test_a_mistake_of_the_candidate_is_told_before_the_baseline_s():
    with pytest.raises(UserError, match=r"^measure\.warmup_tokens cuts a generation short"):
        load_experiment(["workload=score", "measure.warmup_tokens=3", "baseline.cache=nothing"])


def test_the_plan_is_settled_by_the_candidate_s_workload():
    plan = load_experiment(["workload=score", "workload.num_runs=20"]).measure
    assert (plan.trials * plan.blocks, plan.min_trial_s) == (20, 0)
    assert not plan.limited_by_time


def test_an_arm_keeps_the_whole_configuration_for_the_record():
    arm = load_experiment(["baseline=off"]).candidate
    assert arm.resolved.keys() == SLOTS.keys()
