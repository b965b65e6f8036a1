"""Calibration: what a start does to equal arms, kept where the next run's interval finds it."""

import dataclasses
import math
import statistics

import numpy as np
import pytest

from jaxgen import calibrate
from jaxgen.config.experiment import load_experiment
from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.experiment import calibration, session
from jaxgen.experiment.execute import execute, measure_once
from jaxgen.experiment.repetitions import Repetitions
from jaxgen.experiment.start_noise import spread_for
from jaxgen.measure import start_spread
from jaxgen.measure.start_spread import SHIPPED
from jaxgen.results.record import Record
from jaxgen.specs.study import Calibrate, Single
from support.small_runs import SMALL, read_result, trials_of
from support.stand_in_machine import Machine, same_experiment

ENVIRONMENT = {"device_kind": "cpu", "cpu": "Abacus 2"}
KEY = "cpu | Abacus 2 | None | None | generate | tiny | float32"
STUDY = Calibrate(processes=8, seconds=1.0)
BLOCKS = 24


@pytest.fixture(autouse=True)
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    # By number, and not by the clock of the machine that runs the test.
    monkeypatch.setattr(calibration, "_MANY_BLOCKS", BLOCKS)


def calibrated(folder, monkeypatch, *, machine=None, study=STUDY, experiment=None):
    machine = machine or Machine(seed=1)
    monkeypatch.setattr(calibration, "Pool", machine.pool)
    folder.mkdir(exist_ok=True)
    experiment = experiment or same_experiment(study)
    record, console = Record(experiment.arms, folder), Console(experiment, folder)
    code = calibration.calibrate(experiment, record, console)
    return code, record.result["calibration"], console


def means_of(told):
    return [np.mean(each["block_means"]) for each in told["comparisons"]]


def test_the_start_spread_is_the_deviation_of_the_pairs_means(tmp_path, monkeypatch):
    machine = Machine(seed=1)
    code, told, _ = calibrated(tmp_path, monkeypatch, machine=machine)
    assert code is ExitCode.OK
    assert [each["process"] for each in told["comparisons"]] == list(range(8))
    assert {len(each["block_means"]) for each in told["comparisons"]} == {BLOCKS}
    means = means_of(told)
    assert told["start_spread"]["deviation"] == pytest.approx(np.std(means, ddof=1))
    assert told["start_spread"]["freedom"] == 7
    assert told["start_spread"]["mean"] == pytest.approx(np.mean(means))
    for each, mean in zip(told["comparisons"], means, strict=True):
        assert math.log(each["ratio"]) == pytest.approx(mean)
        means = each["block_means"]
        assert each["standard_error"] == pytest.approx(
            statistics.stdev(means) / math.sqrt(len(means))
        )


def test_the_arms_take_turns_in_starting_first_and_what_that_is_worth_is_told(
    tmp_path, monkeypatch
):
    class Favouring(Machine):
        """Whoever starts first is 4 % faster."""

        def pool(self, arms, **settings):
            pool = super().pool(arms, **settings)
            first = next(iter(arms))
            pool._process[first] += 0.04
            return pool

    machine = Favouring(seed=1)
    _, told, _ = calibrated(tmp_path, monkeypatch, machine=machine)
    firsts = [first for first, _second in machine.starts]
    assert firsts == [each["started_first"] for each in told["comparisons"]]
    assert firsts[:2] * 4 == firsts
    assert set(firsts) == {"candidate", "baseline"}
    # The two signs of a bias lie 8 % apart: the spread holds it, the mean over all pairs does not.
    assert told["start_spread"]["first_starter_gain"] == pytest.approx(0.04, abs=0.01)
    assert told["start_spread"]["deviation"] > 0.035
    assert abs(told["start_spread"]["mean"]) < 0.01


def test_each_trial_has_a_place_of_its_own_and_a_spoilt_pair_counts_nowhere(tmp_path, monkeypatch):
    class Spoilt(Machine):
        def pool(self, arms, **settings):
            self.events = self.pools == 1  # the second pair of processes compiles in every trial
            return super().pool(arms, **settings)

    _, told, _ = calibrated(
        tmp_path, monkeypatch, machine=Spoilt(seed=1), study=Calibrate(processes=3)
    )
    assert [each["process"] for each in told["comparisons"]] == [0, 2]
    assert told["start_spread"]["freedom"] == 1
    rows = [row for row in trials_of(tmp_path) if row["void"] == "False"]
    keys = ("case", "process", "block", "pair", "arm")
    places = [tuple(row[key] for key in keys) for row in rows]
    assert len(set(places)) == len(places)
    assert {(row["process"], row["case"]) for row in trials_of(tmp_path)} == {
        ("0", "0"),
        ("1", "1"),
        ("2", "2"),
    }


@pytest.mark.parametrize(
    ("story", "study"),
    [(calibration.calibrate, STUDY), (measure_once, Single())],
    ids=["calibrate", "single"],
)
def test_spreads_that_cannot_be_read_are_refused_before_any_trial(
    story, study, tmp_path, monkeypatch
):
    path = start_spread.save(KEY, {"deviation": 0.004, "freedom": 7})
    path.write_text("{")
    monkeypatch.setattr(
        "jaxgen.experiment.padded_pool.Pool",
        lambda arms, *, isolation, log, padding: Machine(seed=1).pool(
            arms, isolation=isolation, log=log
        ),
    )
    monkeypatch.setattr(calibration, "Pool", Machine(seed=1).pool)
    experiment = same_experiment(study)
    with pytest.raises(UserError, match="cannot be read"):
        story(experiment, Record(experiment.arms, tmp_path), Console(experiment, tmp_path))
    assert not (tmp_path / "trials.csv").exists()


def test_later_runs_find_the_spread(tmp_path, monkeypatch):
    candidate = same_experiment(STUDY).candidate
    assert spread_for(candidate, ENVIRONMENT) is SHIPPED
    _, told, _ = calibrated(tmp_path, monkeypatch)
    found = spread_for(candidate, ENVIRONMENT)
    assert told["key"] == KEY
    assert (found.deviation, found.freedom) == (told["start_spread"]["deviation"], 7)
    assert found.source.startswith("this machine's calibration of ")
    other = dataclasses.replace(candidate, choices=candidate.choices | {"dtype": "bfloat16"})
    assert spread_for(other, ENVIRONMENT) is SHIPPED


def test_a_session_s_samples_have_it(tmp_path):
    start_spread.save(KEY, {"deviation": 0.003, "freedom": 5})
    experiment = same_experiment(Single())
    record = Record(experiment.arms, tmp_path)
    record.result["environment"] = ENVIRONMENT
    arms, pool = experiment.arms, Machine(seed=1).pool(experiment.arms, isolation=None, log=None)
    console = Console(experiment, tmp_path)
    one = session.Session(arms, pool, record, console, plan=experiment.measure)
    one.load()
    assert one.outcome().samples.start.deviation == 0.003


def test_a_margin_of_an_earlier_version_is_named_and_not_used(tmp_path, monkeypatch):
    old = tmp_path / "data" / "jaxgen" / "noise_floor.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    experiment = same_experiment(STUDY)
    monkeypatch.setattr(calibration, "Pool", Machine(seed=1).pool)
    record = Record(experiment.arms, tmp_path)
    calibration.calibrate(experiment, record, Console(experiment, tmp_path))
    assert [note for note in record.result["notes"] if "noise_floor.json" in note]
    assert old.read_text() == "{}"


def test_calibrating_again_replaces_the_spread(tmp_path, monkeypatch):
    spreads = []
    for seed in (1, 2):
        _, told, _ = calibrated(tmp_path, monkeypatch, machine=Machine(seed=seed))
        spreads.append(told["start_spread"]["deviation"])
    assert spreads[0] != spreads[1]
    assert start_spread.find(KEY).deviation == spreads[1]


def test_the_spread_and_every_pair_are_printed(tmp_path, monkeypatch, capsys):
    _, told, console = calibrated(tmp_path, monkeypatch)
    console.summary(read_result(tmp_path) | {"calibration": told})
    printed = capsys.readouterr().out
    deviation = told["start_spread"]["deviation"]
    assert f"{100 * deviation:.2f} %" in printed
    assert "8 pairs of processes with equal arms" in printed
    assert printed.count("started first\n") == 8


def test_the_time_ends_a_pair_and_the_user_s_target_does_not():
    plan = dataclasses.replace(same_experiment(STUDY).measure, target_ci=0.5, min_trial_s=0.2)
    short = calibration.plan_of(plan, seconds=7.0)
    assert (short.trials, short.processes, short.max_seconds) == (1, 1, 7.0)
    assert short.min_trial_s == calibration.TRIAL_S
    assert short.target_ci < 1e-6


def test_spoilt_pairs_keep_no_spread_and_say_why(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "Pool", Machine(seed=1, events=2).pool)
    with pytest.raises(UserError, match="study=calibrate has 0 pairs of processes that count"):
        execute(same_experiment(Calibrate(processes=2)), tmp_path)
    assert start_spread.find(KEY) is SHIPPED
    assert any("compiled in 3 trials" in note for note in read_result(tmp_path)["notes"])


def test_an_interrupt_keeps_what_was_measured_and_no_spread(tmp_path, monkeypatch):
    machine, experiment = Machine(seed=1), same_experiment(STUDY)
    monkeypatch.setattr(calibration, "Pool", machine.pool)
    measure = Repetitions.measure
    made = []

    def interrupted(self, **fault):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(measure(self, **fault))
        return made[-1]

    monkeypatch.setattr(Repetitions, "measure", interrupted)
    assert execute(experiment, tmp_path) is ExitCode.INTERRUPTED
    result = read_result(tmp_path)
    assert result["status"] == "failed"
    assert len(result["calibration"]["comparisons"]) == 3
    assert start_spread.find(KEY) is SHIPPED


def test_arms_that_differ_are_refused(tmp_path, monkeypatch):
    experiment = same_experiment(STUDY)
    arms = experiment.arms
    workload = dataclasses.replace(arms["baseline"].run.workload, max_new_tokens=3)
    other = dataclasses.replace(
        arms["baseline"], run=dataclasses.replace(arms["baseline"].run, workload=workload)
    )
    for pair in (arms | {"baseline": other}, {"candidate": arms["candidate"]}):
        with pytest.raises(
            UserError,
            match="study=calibrate measures an arm against itself: it needs baseline=same",
        ):
            calibrated(tmp_path, monkeypatch, experiment=dataclasses.replace(experiment, arms=pair))


def test_the_command_is_a_study_of_an_arm_against_itself(monkeypatch):
    given = []
    monkeypatch.setattr(calibrate, "run", lambda argv: given.append(argv) or 0)
    assert calibrate.main(["model=gpt2"]) == 0
    arms = load_experiment(["study=calibrate", "baseline=same"]).arms
    assert given == [["study=calibrate", "baseline=same", "model=gpt2"]]
    assert arms["candidate"].run == arms["baseline"].run


@pytest.mark.slow
def test_a_whole_calibration_in_real_processes(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    overrides = (
        *SMALL,
        "study=calibrate",
        "baseline=same",
        "study.processes=2",
        "study.seconds=0.5",
    )
    assert execute(load_experiment(overrides), tmp_path) is ExitCode.OK
    told = read_result(tmp_path)["calibration"]
    assert told["start_spread"]["freedom"] == 1
    assert {each["started_first"] for each in told["comparisons"]} == {"candidate", "baseline"}
    found = start_spread.find(told["key"])
    assert found.deviation == told["start_spread"]["deviation"]
    assert told["conditions"]["jax"]
    assert not any(row["compile_events"] != "0" for row in trials_of(tmp_path))
