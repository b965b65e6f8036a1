"""Several probes as one, and one ceiling for arms that are alike."""

import pytest

from jaxgen.measure import probed_rates


def a_probe(bandwidth, flops, *, form):
    return {
        "bandwidth_bytes_per_s": max(bandwidth),
        "bandwidth_samples": bandwidth,
        "bandwidth_form": form,
        "working_set_bytes": 7,
        "peak_flops_per_s": max(flops),
        "flops_samples": flops,
        "flops_form": form,
    }


def test_several_probes_are_one_with_the_best_of_each_rate():
    probes = [
        a_probe([3.0, 2.0], [10.0, 40.0], form="early"),
        a_probe([5.0, 4.0], [30.0, 20.0], form="late"),
    ]
    together = a_probe([3.0, 2.0, 5.0, 4.0], [10.0, 40.0, 30.0, 20.0], form="late")
    assert probed_rates.best_probe(probes) == {**together, "flops_form": "early"}


def of_arm(bandwidth, flops, *, working_set_bytes=7, **alike):
    probe = a_probe([bandwidth], [flops], form="one")
    return {**probe, "working_set_bytes": working_set_bytes, "devices": 1, **alike}


def rates(probe):
    return probe["bandwidth_bytes_per_s"], probe["peak_flops_per_s"]


ALIKE = {"level": "L3", "dtype": "float32"}


def test_arms_that_are_alike_have_one_ceiling_the_best_of_both():
    candidate, baseline = of_arm(60.3, 127.0, **ALIKE), of_arm(53.0, 145.0, **ALIKE)
    assert rates(probed_rates.ceiling(candidate, [baseline])) == (60.3, 145.0)
    assert rates(probed_rates.ceiling(baseline, [candidate])) == (60.3, 145.0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"level": "memory", "dtype": "float32"}, (60.0, 200.0)),
        ({"level": "L3", "dtype": "bfloat16"}, (90.0, 100.0)),
        ({"level": "memory", "dtype": "bfloat16"}, (60.0, 100.0)),
        ({"level": None, "dtype": "float32"}, (60.0, 200.0)),
        ({**ALIKE, "devices": 2}, (60.0, 100.0)),
    ],
    ids=str,
)
def test_a_rate_is_shared_by_what_is_alike_in_that_alone(other, expected):
    own = of_arm(60.0, 100.0, **ALIKE)
    assert rates(probed_rates.ceiling(own, [of_arm(90.0, 200.0, **other)])) == expected


@pytest.mark.parametrize(("nbytes", "bandwidth"), [(13, 90.0), (15, 60.0)])
def test_where_the_caches_are_unknown_working_sets_of_one_size_are_alike(nbytes, bandwidth):
    own = of_arm(60.0, 100.0, level=None, dtype="float32")
    other = of_arm(90.0, 100.0, level=None, dtype="float32", working_set_bytes=nbytes)
    assert rates(probed_rates.ceiling(own, [other]))[0] == bandwidth


def test_an_arm_alone_has_its_own_ceiling():
    own = of_arm(60.0, 100.0, **ALIKE)
    assert probed_rates.ceiling(own, []) == own
