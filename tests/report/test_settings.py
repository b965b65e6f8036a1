"""Which settings tell arms and points apart, and how an arm is named by them."""

from jaxgen.report.points import points_of
from jaxgen.report.settings import arm_name, differences
from jaxgen.results.collection import collect
from support.stored_runs import arm, result, write


def test_what_follows_from_an_option_is_no_difference_of_its_own(tmp_path):
    """`cache.max_len` is a key of the fixed cache alone; `workload.batch_size` is of both."""
    stored = result()
    config = {"cache": {"pad": False}, "workload": {"batch_size": 8}}
    stored["arms"]["baseline"]["config"] = config
    (point,) = points_of(collect([write(tmp_path / "run", stored)]).runs)
    assert list(differences(point.arms)) == ["cache", "workload.batch_size", "model.weights"]
    name = arm_name(point.arms, "baseline")
    assert name.startswith("baseline (cache=none, workload.batch_size=8")


def test_a_varied_baseline_is_a_setting_unless_it_follows_the_candidate(tmp_path):
    for number, dtype in enumerate(("float32", "bfloat16")):
        arms = {
            "candidate": arm(2.0, dtype=dtype),
            "baseline": arm(1.0, dtype=dtype, jit=str(number)),
        }
        write(tmp_path / str(number), result(arms=arms))
    labels = [point.label for point in points_of(collect([tmp_path]).runs)]
    assert labels == ["dtype=float32 baseline.jit=0", "dtype=bfloat16 baseline.jit=1"]


def test_settings_that_vary_together_as_the_same_number_are_one(tmp_path):
    for number, length in enumerate((16, 32)):
        candidate = arm(2.0)
        candidate["config"]["prompts"] = {"length": length}
        candidate["config"]["cache"] = {"max_len": length}
        write(tmp_path / str(number), result(arms={"candidate": candidate}))
    labels = [point.label for point in points_of(collect([tmp_path]).runs)]
    assert labels == ["cache.max_len=16", "cache.max_len=32"]
