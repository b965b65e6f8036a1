"""A study's numbers: what is refused, and that each option composes."""

import re

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import UserError
from jaxgen.specs.study import Calibrate, Selftest, Single


@pytest.mark.parametrize(
    ("option", "spec"), [("single", Single()), ("calibrate", Calibrate()), ("selftest", Selftest())]
)
def test_every_option_composes_to_its_spec(option, spec):
    assert load_experiment([f"study={option}", "baseline=same"]).study == spec


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        (
            Calibrate,
            {"repetitions": 0},
            "impossible study=calibrate: study.repetitions=0 must be 1 or more",
        ),
        (Calibrate, {"processes": 0}, "study.processes=0 must be 1 or more"),
        (Calibrate, {"max_seconds": -1.0}, "study.max_seconds=-1.0 must be 0 or more"),
        (Calibrate, {"max_seconds": float("nan")}, "study.max_seconds=nan must be 0 or more"),
        (
            Selftest,
            {"repetitions": 0},
            "impossible study=selftest: study.repetitions=0 must be 1 or more",
        ),
        (
            Selftest,
            {"repetitions": 2, "processes": 3},
            "study.processes=3 cannot share out study.repetitions=2",
        ),
        (Selftest, {"slowdown": 0.0}, "study.slowdown=0.0 must be above 0 and below 10"),
    ],
)
def test_numbers_that_measure_nothing_are_refused(spec, fields, message):
    with pytest.raises(UserError, match=re.escape(message)):
        spec(**fields)
