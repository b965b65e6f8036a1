"""What a start spread is kept for: the machine, the version of jax, the workload and the model."""

import dataclasses

import pytest

from jaxgen.experiment.start_noise import conditions_of
from jaxgen.measure.start_spread import key_of
from jaxgen.specs.model import Weights
from support.small_runs import two_arms

HERE = {"device_kind": "cpu", "cpu": "EPYC 9R14", "cores": 2, "packages": {"jax": "0.10.2"}}


def key(arm=None, **environment):
    return key_of(conditions_of(arm or two_arms()["candidate"], HERE | environment))


def test_a_key_names_all_that_it_depends_on():
    assert key() == "cpu | EPYC 9R14 | 2 | 0.10.2 | generate | tiny | float32"


@pytest.mark.parametrize(
    "elsewhere",
    [{"cpu": "Xeon"}, {"device_kind": "H100"}, {"cores": 64}, {"packages": {"jax": "0.12.0"}}],
    ids=lambda changed: next(iter(changed)),
)
def test_that_of_another_machine_or_jax_is_none_of_ours(elsewhere):
    assert key(**elsewhere) != key()


@pytest.mark.parametrize("choice", ["workload", "model", "dtype"])
def test_each_choice_that_changes_the_work_has_its_own(choice):
    one = two_arms()["candidate"]
    other = dataclasses.replace(one, choices=one.choices | {choice: "another"})
    assert key(other) != key(one)


def test_arms_that_a_run_compares_share_it():
    assert key(two_arms()["baseline"]) == key(two_arms()["candidate"])


def test_of_an_option_for_any_model_each_has_its_own():
    one = two_arms()["candidate"]
    keys = set()
    for source in ("org/one", "org/other"):
        model = dataclasses.replace(
            one.run.model, source=source, shapes=None, weights=Weights.pretrained
        )
        run = dataclasses.replace(one.run, model=model)
        keys.add(key(dataclasses.replace(one, run=run)))
    assert len(keys) == 2
    assert all("org/o" in found for found in keys)
