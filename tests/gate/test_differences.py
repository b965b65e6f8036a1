"""What a gate notes beside its rows: machine, configuration, weights, a baseline that moved."""

import pytest

from jaxgen.gate import regression
from jaxgen.gate.differences import changed_keys
from jaxgen.gate.stored import read_all
from support.stored_results import arm, csv_text, result, write


def section(now, then, tmp_path, **changed):
    stored = read_all([write(tmp_path / "result.json", then)])
    return regression.gate_section(now, stored, threshold=0.1, noise_floor=0.02, **changed)


def told(now, then, tmp_path, **changed):
    return "; ".join(section(now, then, tmp_path, **changed)["notes"])


def pair(candidate=1.0, baseline=1.0, **settings):
    arms = {"candidate": arm(candidate), "baseline": arm(baseline, cache="none", **settings)}
    return result(arms=arms)


def test_a_baseline_that_moved_points_to_the_machine(tmp_path):
    notes = told(pair(0.8, 0.88), pair(), tmp_path)
    assert notes == (
        "the baseline, unchanged, moved by -12.0% in tokens_per_s: the machine may have changed, "
        "or code that both arms run; the ratio of the arms is compared"
    )


def test_a_baseline_that_stood_still_is_told_too(tmp_path):
    notes = told(pair(0.8, 1.001), pair(), tmp_path)
    assert notes == "the baseline, unchanged, moved by +0.1% in tokens_per_s, which is within noise"


def test_a_baseline_of_another_configuration_says_nothing(tmp_path):
    notes = told(pair(baseline=0.5, workload={"batch_size": 9}), pair(), tmp_path)
    assert "moved by" not in notes
    assert "as the baseline is not configured as it was then: workload.batch_size was 4" in notes


def test_how_it_was_measured_is_no_difference(tmp_path):
    now = pair(measure={"trials": 40})
    assert "within noise" in told(now, pair(), tmp_path)


def test_another_machine_is_nothing_to_compare_with(tmp_path):
    now = result(environment={"device_kind": "H100", "cpu": "EPYC", "packages": {"jax": "0.11"}})
    found = section(now, result(), tmp_path)
    assert (found["status"], found["rows"]) == ("nothing to compare", [])
    assert "device_kind was cpu, is H100, jax was 0.10.2, is 0.11" in found["reason"]
    assert "gate.across=true compares" in found["reason"]


def test_across_machines_the_difference_is_noted(tmp_path):
    now = result(environment={"device_kind": "H100", "cpu": "EPYC", "packages": {"jax": "0.11"}})
    found = section(now, result(), tmp_path, across=True)
    assert found["status"] == "passed"
    assert found["notes"][0] == (
        "the machine or its software is another: "
        "device_kind was cpu, is H100, jax was 0.10.2, is 0.11"
    )


@pytest.mark.parametrize(
    ("key", "then", "now"),
    [
        ("cores", 2, 64),
        ("python", "3.11.7", "3.12.1"),
        ("platform", "cpu", "gpu"),
    ],
)
def test_each_fact_of_the_machine_forbids_a_comparison(key, then, now, tmp_path):
    environment = result()["environment"]
    old = result(environment=environment | {key: then})
    new = result(environment=environment | {key: now})
    found = section(new, old, tmp_path)
    assert found["status"] == "nothing to compare"
    assert f"{key} was {then}, is {now}" in found["reason"]


@pytest.mark.parametrize("key", ["family", "model", "stepping"])
def test_a_processor_of_the_same_name_may_be_another(key, tmp_path):
    processor = {"family": "25", "model": "1", "stepping": "1", "governor": "performance"}
    environment = result()["environment"]
    old = result(environment=environment | {"processor": processor})
    new = result(environment=environment | {"processor": processor | {key: "26"}})
    found = section(new, old, tmp_path)
    assert found["status"] == "nothing to compare"
    assert f"cpu_{key} was {processor[key]}, is 26" in found["reason"]
    unknown = section(new, result(), tmp_path)
    assert unknown["status"] == "passed"


@pytest.mark.parametrize(
    ("then", "now", "note"),
    [
        (None, "--xla_a", "xla_flags was unset, is --xla_a"),
        ("--xla_a", None, "xla_flags was --xla_a, is unset"),
    ],
)
def test_flags_of_one_run_alone_are_a_difference(then, now, note, tmp_path):
    environment = result()["environment"]
    old = result(environment=environment | {"xla_flags": then})
    new = result(environment=environment | {"xla_flags": now})
    assert note in told(new, old, tmp_path)


def test_a_file_that_does_not_say_whether_there_were_flags_is_no_difference(tmp_path):
    environment = dict(result()["environment"])
    old = result(environment={key: environment[key] for key in environment if key != "xla_flags"})
    new = result(environment=environment | {"xla_flags": "--xla_a"})
    assert "xla_flags" not in told(new, old, tmp_path)


def test_another_machine_is_seen_in_a_csv(tmp_path):
    header = csv_text().strip() + ",cpu"
    row = "4,2,20,80,100.0,40.0,41.0,,40.0,0.4,Xeon"
    stored = read_all([write(tmp_path / "scores.csv", csv_text(row, header=header))])
    found = regression.gate_section(result(), stored, threshold=0.1, noise_floor=0.02)
    assert found["status"] == "nothing to compare"
    assert "(of another machine or software: cpu was Xeon, is EPYC)" in found["reason"]


def test_another_configuration_and_other_weights_are_named(tmp_path):
    now = result(arms={"candidate": arm(cache="dynamic", workload={"batch_size": 8})})
    now["arms"]["candidate"]["weights"]["fingerprint"] = "def"
    notes = told(now, result(), tmp_path)
    assert (
        "configured as it was then: cache was fixed, is dynamic, workload.batch_size was 4, is 8"
        in notes
    )
    assert "the candidate's weights are not those of then" in notes


def test_a_result_that_is_invalid_is_no_sound_yardstick(tmp_path):
    bad = result(verdict="invalid", verdict_reason="the outputs differ")
    assert "the stored run is invalid itself: the outputs differ" in told(result(), bad, tmp_path)
    assert "this run is invalid itself: the outputs differ" in told(bad, result(), tmp_path)


def test_a_key_that_only_one_side_knows_is_no_difference():
    old = {"choices": {"cache": "fixed"}, "config": {"cache": {"max_len": 64}}}
    new = {
        "choices": {"cache": "fixed", "study": "single"},
        "config": {"cache": {"max_len": 64, "colour": 1}},
    }
    assert changed_keys(new, old) == []


def test_nested_keys_are_told_with_their_whole_name():
    old, new = ({"config": {"model": {"shapes": {"num_layers": layers}}}} for layers in (2, 3))
    assert changed_keys(new, old) == ["model.shapes.num_layers was 2, is 3"]


def test_long_values_are_told_in_short():
    old, new = ({"config": {"prompts": {"text": [text * 100]}}} for text in "ab")
    (told_change,) = changed_keys(new, old)
    assert len(told_change) < 120
