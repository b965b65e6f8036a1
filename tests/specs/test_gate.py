"""The options of `gate=`: what they hold, and what they refuse."""

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import UserError
from jaxgen.specs.gate import NoGate, Regression


def gate(*overrides):
    return load_experiment(["baseline=off", *overrides]).gate


def test_there_is_no_gate_unless_asked_for():
    assert gate() == NoGate()


def test_a_gate_allows_ten_percent():
    assert gate("gate=regression", "gate.against=old.csv") == Regression(
        against=("old.csv",), threshold=0.1
    )


@pytest.mark.parametrize("revision", ["HEAD~1", "HEAD^", "v0.1.0", "0123456", "12e4567", "main"])
def test_a_revision_needs_no_quotes(revision):
    composed = load_experiment(["gate=regression", f"gate.commit={revision}"])
    assert composed.gate == Regression(commit=revision)


def test_a_pattern_needs_no_quotes():
    found = gate("gate=regression", "gate.against=runs/*/[ab]?/result.json")
    assert found == Regression(against=("runs/*/[ab]?/result.json",))


def test_the_baseline_of_a_commit_is_the_candidate_itself():
    composed = load_experiment(["gate=regression", "gate.commit=HEAD", "cache=paged"])
    runs = [arm.run for arm in composed.arms.values()]
    assert list(composed.arms) == ["candidate", "baseline"]
    assert runs[0] == runs[1]
    assert {arm.choices["baseline"] for arm in composed.arms.values()} == {"same"}


@pytest.mark.parametrize(
    ("overrides", "fragment"),
    [
        (["baseline=nocache"], "gate.commit=HEAD measures that commit's code as the baseline"),
        (["baseline.cache=none"], "leave baseline.cache=none out"),
        (["study=calibrate"], "gate.commit=HEAD needs study=single"),
    ],
)
def test_a_commit_leaves_no_room_for_another_baseline(overrides, fragment):
    with pytest.raises(UserError) as refused:
        load_experiment(["gate=regression", "gate.commit=HEAD", *overrides])
    assert fragment in str(refused.value)


def test_several_stored_runs_are_given_as_a_list():
    assert gate("gate=regression", "gate.against=[a,'runs/*']") == Regression(
        against=("a", "runs/*")
    )


@pytest.mark.parametrize(
    ("overrides", "fragment"),
    [
        ([], "gate=regression has nothing to compare with: set gate.against=PATH"),
        (["gate.against=''"], "gate=regression has nothing to compare with: set gate.against=PATH"),
        (
            ["gate.against=a", "gate.threshold=10"],
            "gate.threshold=10.0 must be 0 or more and below 1 (0.1 is 10 %)",
        ),
        (["gate.against=a", "gate.threshold=-0.1"], "gate.threshold=-0.1 must be 0 or more"),
        (["gate.against=a", "gate.threshold=nan"], "gate.threshold=nan must be 0 or more"),
        (["gate.against=a", "gate.threshold=tenth"], "gate.threshold=tenth is impossible"),
        (["gate.against=a", "gate.commit=b"], "gate.against=a and gate.commit=b are two things"),
        (["gate.aganst=a"], "did you mean gate.against?"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(overrides, fragment):
    with pytest.raises(UserError) as refused:
        gate("gate=regression", *overrides)
    assert fragment in str(refused.value)


def test_the_baseline_has_no_gate_of_its_own():
    with pytest.raises(UserError, match="the same for both arms"):
        load_experiment(["baseline.overrides=['gate=off']"])
