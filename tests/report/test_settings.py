"""Which settings tell arms and points apart, and how an arm is named by them."""

from jaxgen.report.points import points_of
from jaxgen.report.settings import arm_name, differences
from jaxgen.results.collection import collect
from support.stored_runs import arm, result, write


def test_what_follows_from_an_option_is_no_difference_of_its_own(tmp_path):
    """`cache.max_len` is a key of the fixed cache alone; `workload.batch_size` differs by itself."""
    told = result()
    told["arms"]["baseline"]["config"] = {"cache": {"pad": False}, "workload": {"batch_size": 8}}
    (point,) = points_of(collect([write(tmp_path / "run", told)]).runs)
    assert list(differences(point.arms)) == ["cache", "workload.batch_size", "model.weights"]
    assert arm_name(point.arms, "baseline").startswith(
        "baseline (cache=none, workload.batch_size=8"
    )


def test_a_varied_baseline_is_a_setting_unless_it_follows_the_candidate(tmp_path):
    for number, dtype in enumerate(("float32", "bfloat16")):
        arms = {
            "candidate": arm(2.0, dtype=dtype),
            "baseline": arm(1.0, dtype=dtype, jit=str(number)),
        }
        write(tmp_path / str(number), result(arms=arms))
    labels = [point.label for point in points_of(collect([tmp_path]).runs)]
    assert labels == ["dtype=float32 baseline.jit=0", "dtype=bfloat16 baseline.jit=1"]
