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
        (Calibrate, {"processes": 1}, "study.processes=1 cannot show how starts differ"),
        (Calibrate, {"seconds": 0.0}, "study.seconds=0.0 must be a finite number above 0"),
        (Calibrate, {"seconds": float("nan")}, "study.seconds=nan must be a finite number"),
        (Calibrate, {"seconds": float("inf")}, "study.seconds=inf must be a finite number"),
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
