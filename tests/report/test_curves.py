"""The least time that a step's bytes and FLOPs would take, as the scaling plot draws it."""

import math

import pytest

from jaxgen.report.plots.curves import _least_seconds

ROOFLINE = {
    "of": "tpot_s",
    "bytes_per_step": 100.0,
    "bandwidth_bytes_per_s": 10.0,
    "flops_per_step": 100.0,
    "peak_flops_per_s": 50.0,
}


def test_the_slower_of_memory_and_arithmetic_is_the_least():
    assert _least_seconds({"roofline": ROOFLINE}, "tpot_s") == 10.0


@pytest.mark.parametrize(
    "unknown",
    ["bytes_per_step", "bandwidth_bytes_per_s", "flops_per_step", "peak_flops_per_s"],
)
def test_a_step_of_which_something_is_unknown_has_no_least_time(unknown):
    roofline = ROOFLINE | {unknown: None}
    assert math.isnan(_least_seconds({"roofline": roofline}, "tpot_s"))
