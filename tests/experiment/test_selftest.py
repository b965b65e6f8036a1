"""How often the verdict is right, on a machine and with a clock that are arithmetic."""

import dataclasses
import itertools
import json

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.experiment import selftest
from jaxgen.experiment.execute import execute
from jaxgen.experiment.selftest_faults import FAULTS
from jaxgen.experiment.selftest_rates import failures
from jaxgen.measure.start_spread import SHIPPED
from jaxgen.results.record import Record
from jaxgen.specs.fault import Fault
from jaxgen.specs.study import Selftest
from support.small_runs import SMALL, trials_of
from support.stand_in_machine import Machine, same_experiment

PLAN = {"trials": 2, "blocks": 8, "margin": 0.01}
PLACE = ("case", "process", "block", "pair", "arm")
REASONS = {
    "recompile": "the candidate compiled in 3 trials although it was warmed up",
    "wrong_token": "the outputs of the candidate and the baseline differ",
    "nan_weights": "the candidate's logits hold NaN or Inf",
    "clock": "the candidate reaches 900% of the memory bandwidth: the timer is wrong",
}
REASONS = {name: f"the measurement is invalid: {reason}" for name, reason in REASONS.items()}


def self_tested(folder, monkeypatch, study, *, machine=None, faulty=None, **plan):
    """Runs the self-test; `faulty` takes the place of a whole measurement with a fault."""
    monkeypatch.setattr(selftest, "Pool", (machine or Machine(seed=7)).pool)
    experiment = same_experiment(study, **(PLAN | plan))
    record, console = Record(experiment.arms, folder), Console(experiment, folder)
    code = selftest.selftest(experiment, record, console, measure_once=faulty or _faulty)
    return code, record.result, console


def _faulty(experiment, record, console):
    del console
    arms = experiment.arms
    name = next(name for name, (fault, _) in FAULTS.items() if arms["candidate"].run.fault == fault)
    assert arms["baseline"].run.fault == Fault()
    record.result |= {"verdict": "invalid", "verdict_reason": REASONS[name]}
    return ExitCode.INVALID


def test_equal_arms_are_left_alone_and_a_slowdown_of_5_percent_is_found_95_times_in_100(
    tmp_path, monkeypatch
):
    machine = Machine(seed=7)
    code, result, _console = self_tested(
        tmp_path, monkeypatch, Selftest(repetitions=100, processes=5), machine=machine
    )
    told = result["selftest"]
    assert (len(told["same"]), len(told["slowed"])) == (100, 100)
    assert {each["process"] for each in told["same"]} == set(range(5))
    assert len({tuple(row[key] for key in PLACE) for row in trials_of(tmp_path)}) == len(
        trials_of(tmp_path)
    )
    assert {row["process"] for row in trials_of(tmp_path)} == set("01234")
    assert told["rates"]["same_left_alone"] >= 0.95
    assert told["rates"]["slowdown_found"] >= 0.95
    assert (code, result["verdict"]) == (ExitCode.OK, None)
    firsts = [first for first, _second in machine.starts]
    assert set(firsts) == {"candidate", "baseline"}
    assert all(one != other for one, other in itertools.pairwise(firsts))
    assert all(len(each["block_means"]) == each["blocks"] for each in told["same"])
    coverage = told["coverage"]
    assert coverage["of"] == 100
    assert coverage["held"] >= 92
    assert coverage["ci95"][0] < coverage["rate"] <= coverage["ci95"][1]
    cells = coverage["cells"].values()
    assert sorted(cell["of"] for cell in cells) == [20, 20, 30, 30]


class Favouring(Machine):
    """A machine that favours the process that starts first, or one name, by a share."""

    def __init__(self, *, first=0.0, candidate=0.0):
        super().__init__(seed=11)
        self.first, self.candidate = first, candidate

    def pool(self, arms, **settings):
        pool = super().pool(arms, **settings)
        pool._process[next(iter(arms))] += self.first
        pool._process["candidate"] += self.candidate
        return pool


@pytest.mark.parametrize("bias", [{"first": 0.03}, {"candidate": 0.03}], ids=str)
def test_intervals_that_do_not_hold_1_fail_the_self_test(tmp_path, monkeypatch, bias):
    study = Selftest(repetitions=24, processes=4, slowdown=0.5, faults=False)
    code, result, _ = self_tested(
        tmp_path, monkeypatch, study, machine=Favouring(**bias), margin=0.2
    )
    coverage = result["selftest"]["coverage"]
    assert coverage["held"] < 0.7 * coverage["of"]
    assert code is ExitCode.INVALID
    assert f"{coverage['held']} of 24 intervals of equal arms hold 1" in result["verdict_reason"]
    # Nothing else is wrong: the margin is far beyond what the machine does.
    assert set(result["selftest"]["rates"].values()) == {1.0}


def test_names_and_starts_are_exchanged_independently(tmp_path, monkeypatch):
    study = Selftest(repetitions=8, processes=4, faults=False, slowdown=0.5)
    _, result, _ = self_tested(tmp_path, monkeypatch, study, machine=Favouring(candidate=0.1))
    told = result["selftest"]
    combinations = {(each["started_first"], each["swapped"]) for each in told["same"]}
    assert len(combinations) == 4
    assert {cell["of"] for cell in told["coverage"]["cells"].values()} == {2}
    # The process that is 10 % faster is called the candidate, and then the baseline.
    for each in told["same"]:
        assert (each["ratio"] > 1) is not each["swapped"]
    # The extra work goes with the name: in either process it makes the candidate slower.
    for same, slowed in zip(told["same"], told["slowed"], strict=True):
        assert slowed["swapped"] == same["swapped"]
        assert slowed["ratio"] < same["ratio"] / 1.4


def test_one_measurement_a_pair_of_processes_has_all_four_combinations_too(tmp_path, monkeypatch):
    study = Selftest(repetitions=4, processes=4, faults=False, slowdown=0.5)
    _, result, _ = self_tested(tmp_path, monkeypatch, study)
    same = result["selftest"]["same"]
    assert len({(each["started_first"], each["swapped"]) for each in same}) == 4


def test_the_start_spread_of_the_intervals_stands_in_the_result(tmp_path, monkeypatch):
    study = Selftest(repetitions=1, processes=1, faults=False, slowdown=0.5)
    _, result, _ = self_tested(tmp_path, monkeypatch, study)
    assert result["selftest"]["start_spread"] == dataclasses.asdict(SHIPPED)


def test_each_fault_is_put_into_the_candidate_alone_and_found_by_its_reason(tmp_path, monkeypatch):
    _code, result, _ = self_tested(tmp_path, monkeypatch, Selftest(repetitions=1, processes=1))
    assert {
        name: (fault["found"], fault["reason"])
        for name, fault in result["selftest"]["faults"].items()
    } == {name: (True, reason) for name, reason in REASONS.items()}
    for fault in result["selftest"]["faults"].values():
        assert (tmp_path / fault["result"]).is_file()


def test_rates_and_faults_are_printed(tmp_path, monkeypatch, capsys):
    _, result, console = self_tested(
        tmp_path, monkeypatch, Selftest(repetitions=2, processes=1, slowdown=0.2)
    )
    console.summary(result)
    printed = " ".join(capsys.readouterr().out.split())
    assert "equal arms left alone 100 % of 2 measurements" in printed
    assert "20 % slowdown found 100 % of 2 measurements" in printed
    assert all(f"{name} found: " in printed for name in FAULTS)


@pytest.mark.parametrize(
    "said",
    [
        {"verdict": "equivalent", "verdict_reason": "equally fast"},
        {"verdict": "invalid", "verdict_reason": "the measurement is invalid: for another reason"},
    ],
    ids=["passed", "another reason"],
)
def test_a_fault_that_goes_by_fails_the_self_test(tmp_path, monkeypatch, said):
    def unmoved(arms, record, console):
        record.result |= said
        return ExitCode.OK

    study = Selftest(repetitions=1, processes=1, slowdown=0.2)
    code, result, _ = self_tested(tmp_path, monkeypatch, study, faulty=unmoved)
    assert (code, result["verdict"]) == (ExitCode.INVALID, "invalid")
    assert "the fault recompile was not found" in result["verdict_reason"]


def test_a_slowdown_that_is_not_found_fails_the_self_test(tmp_path, monkeypatch):
    study = Selftest(repetitions=4, processes=2, slowdown=0.005, faults=False)
    code, result, _ = self_tested(tmp_path, monkeypatch, study, margin=0.02)
    assert code is ExitCode.INVALID
    assert result["verdict_reason"].startswith(
        "the self-test failed: a slowdown of 0.5 % was found in 0 % of the"
    )
    assert result["selftest"]["faults"] == {}


def test_compiles_in_equal_arms_are_no_good_verdict(tmp_path, monkeypatch):
    study = Selftest(repetitions=2, processes=1, faults=False)
    code, result, _ = self_tested(tmp_path, monkeypatch, study, machine=Machine(seed=1, events=1))
    assert code is ExitCode.INVALID
    assert {each["verdict"] for each in result["selftest"]["same"]} == {"invalid"}
    assert "compiled in 3 trials" in result["selftest"]["same"][0]["reason"]


def test_a_fault_s_run_that_breaks_off_is_known_as_failed(tmp_path, monkeypatch):
    def interrupted(arms, record, console):
        raise KeyboardInterrupt

    study = Selftest(repetitions=1, processes=1)
    with pytest.raises(KeyboardInterrupt):
        self_tested(tmp_path, monkeypatch, study, faulty=interrupted)
    assert '"status": "failed"' in (tmp_path / "faults" / "recompile" / "result.json").read_text()


class TestContinuing:
    @pytest.fixture
    def stopped(self, tmp_path, monkeypatch):
        """A self-test with three measurements of each kind, and one more of the first."""
        folder = tmp_path / "stopped"
        folder.mkdir()
        _, result, _ = self_tested(
            folder, monkeypatch, Selftest(repetitions=3, processes=2, faults=False)
        )
        result["selftest"]["same"].append(result["selftest"]["same"][-1])
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    def test_what_a_stopped_one_has_measured_counts(self, stopped, tmp_path, monkeypatch):
        study = Selftest(repetitions=5, processes=1, faults=False, continues=str(stopped))
        _, result, _ = self_tested(tmp_path, monkeypatch, study)
        told = result["selftest"]
        assert [each["process"] for each in told["same"]] == [0, 0, 1, 2, 2]
        assert [each["process"] for each in told["slowed"]] == [0, 0, 1, 2, 2]
        assert told["rates"]["slowdown_found"] == 1
        assert any(
            "3 of the measurements of each kind are of an earlier run" in note
            for note in result["notes"]
        )

    @pytest.mark.parametrize(("key", "value"), [("cores", 99), ("margin", 0.5)])
    def test_another_machine_or_margin_is_refused(self, stopped, tmp_path, monkeypatch, key, value):
        result = json.loads((stopped / "result.json").read_text())
        result["selftest" if key == "margin" else "environment"][key] = value
        (stopped / "result.json").write_text(json.dumps(result))
        study = Selftest(repetitions=5, processes=1, faults=False, continues=str(stopped))
        with pytest.raises(UserError, match=f"was measured elsewhere: with {key} {value}"):
            self_tested(tmp_path, monkeypatch, study)

    def test_other_packages_are_refused(self, stopped, tmp_path, monkeypatch):
        result = json.loads((stopped / "result.json").read_text())
        result["environment"]["packages"] = {"jaxlib": "0.1"}
        (stopped / "result.json").write_text(json.dumps(result))
        study = Selftest(repetitions=5, processes=1, faults=False, continues=str(stopped))
        with pytest.raises(UserError, match=r"was measured elsewhere: with jaxlib 0\.1"):
            self_tested(tmp_path, monkeypatch, study)

    @pytest.mark.parametrize(
        "config", [{"tracker": {"mode": "online"}}, {"study": {"repetitions": 3}}], ids=str
    )
    def test_who_hears_of_it_and_how_often_it_is_repeated_does_not_matter(
        self, stopped, tmp_path, monkeypatch, config
    ):
        result = json.loads((stopped / "result.json").read_text())
        result["arms"]["candidate"]["config"] |= config
        (stopped / "result.json").write_text(json.dumps(result))
        study = Selftest(repetitions=4, processes=1, faults=False, continues=str(stopped))
        assert len(self_tested(tmp_path, monkeypatch, study)[1]["selftest"]["same"]) == 4

    @pytest.mark.parametrize(
        ("changed", "config", "message"),
        [
            ({"slowdown": 0.1}, {}, "was measured with another study.slowdown"),
            ({}, {"measure": {"margin": 0.5}}, "was measured with another measure"),
            (
                {},
                {"mesh": {"data": 2}, "dtype": {"kv": "int8"}},
                "was measured with another dtype, mesh",
            ),
            ({"repetitions": 3}, {}, "has 3 measurements: raise study.repetitions"),
            ({"continues": "nowhere"}, {}, "cannot be continued: there is no result.json"),
        ],
        ids=str,
    )
    def test_another_plan_is_refused(
        self, stopped, tmp_path, monkeypatch, changed, config, message
    ):
        result = json.loads((stopped / "result.json").read_text())
        result["arms"]["candidate"]["config"] |= config
        (stopped / "result.json").write_text(json.dumps(result))
        study = Selftest(
            **({"repetitions": 5, "processes": 1, "continues": str(stopped)} | changed)
        )
        with pytest.raises(UserError, match=message):
            self_tested(tmp_path, monkeypatch, study)


def test_arms_that_differ_are_refused(tmp_path, monkeypatch):
    both = same_experiment(Selftest())
    alone = dataclasses.replace(both, arms={"candidate": both.candidate})
    record, console = Record(alone.arms, tmp_path), Console(alone, tmp_path)
    with pytest.raises(UserError, match="study=selftest measures an arm against itself"):
        selftest.selftest(alone, record, console, measure_once=_faulty)


@pytest.mark.slow
def test_a_whole_self_test_in_real_processes(tmp_path):
    overrides = (
        *SMALL,
        "study=selftest",
        "baseline=same",
        "study.repetitions=2",
        "study.processes=2",
        "study.slowdown=2",
        "study.faults=false",
        "measure.processes=1",
        "measure.trials=1",
        "measure.blocks=8",
        "measure.margin=0.5",
    )
    code = execute(load_experiment(overrides), tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    told = result["selftest"]
    assert (len(told["same"]), len(told["slowed"])) == (2, 2)
    assert {each["started_first"] for each in told["same"]} == {"candidate", "baseline"}
    assert {each["started_first"] for each in told["slowed"]} == {"candidate", "baseline"}
    for each in told["same"] + told["slowed"]:
        assert len(each["block_means"]) == each["blocks"] == each["pairs"]
        assert each["verdict"] != "invalid"
    # Whether two measurements find what is there is the machine's matter; that it is told is ours.
    failed = result["verdict"] == "invalid"
    assert failed is bool(failures(told))
    assert code is (ExitCode.INVALID if failed else ExitCode.OK)
    assert told["coverage"]["of"] == 2
