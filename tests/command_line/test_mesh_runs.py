"""Whole runs on several host devices, in real workers, against one device."""

import pytest

from jaxgen.errors import ExitCode
from support.small_runs import SMALL, execute_composed

pytestmark = pytest.mark.slow

AGAINST_ONE = ("baseline=same", "baseline.mesh=single")


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """Two devices by heads against one; the exit code and the result."""
    return execute_composed(tmp_path_factory.mktemp("mesh"), *SMALL, "mesh=tensor", *AGAINST_ONE)


def test_a_mesh_writes_what_one_device_writes(spread):
    code, result = spread
    assert (code, result["status"]) == (ExitCode.OK, "completed")
    assert result["agreement"]["status"] == "identical"


def test_each_arm_has_its_own_devices(spread):
    result = spread[1]
    assert result["measurement"]["isolation"] == "separate"
    assert result["environment"]["device_count"] == 2
    assert result["arms"]["baseline"]["environment"]["device_count"] == 1


def test_the_result_says_how_the_model_is_spread_and_what_that_costs(spread):
    arms = spread[1]["arms"]
    mesh = arms["candidate"]["mesh"]
    assert (mesh["data"], mesh["tensor"], mesh["cut"]["heads"], mesh["cut"]["batch"]) == (
        1,
        2,
        2,
        1,
    )
    assert all(counts["all-reduce"] >= 2 for counts in mesh["collectives"].values())
    assert mesh["kv_cache_bytes_per_device"] * 2 == arms["candidate"]["memory"]["kv_cache_bytes"]
    assert mesh["weights_bytes_per_device"] < 0.6 * arms["candidate"]["memory"]["weights_bytes"]
    assert arms["baseline"]["mesh"] is None


def test_bytes_and_flops_are_those_of_one_device(spread):
    arms = spread[1]["arms"]
    for key in ("bytes_per_step", "flops_per_step"):
        whole, part = (arms[arm]["roofline"][key] for arm in ("baseline", "candidate"))
        assert 0.5 <= part / whole < 0.6
