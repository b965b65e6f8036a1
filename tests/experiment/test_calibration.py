"""Calibration: the noise floor that equal arms show, kept where the next run's verdict finds it."""

import dataclasses

import pytest

from jaxgen import calibrate
from jaxgen.config.experiment import load_experiment
from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.experiment import calibration, judge
from jaxgen.experiment.execute import execute, measure_once
from jaxgen.measure import noise_floor
from jaxgen.results.record import Record
from jaxgen.specs.study import Calibrate, Single
from support.small_runs import SMALL, read_result, trials_of
from support.stand_in_machine import Machine, same_experiment

KEY = "cpu | Abacus 2 | generate | tiny"
STUDY = Calibrate(repetitions=10, processes=2)
PLAN = {"trials": 2, "blocks": 6}


@pytest.fixture(autouse=True)
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def calibrated(folder, monkeypatch, *, machine=None, study=STUDY, experiment=None):
    machine = machine or Machine(seed=1)
    monkeypatch.setattr(calibration, "Pool", machine.pool)
    folder.mkdir(exist_ok=True)
    experiment = experiment or same_experiment(study, **PLAN)
    record, console = Record(experiment.arms, folder), Console(experiment, folder)
    return calibration.calibrate(experiment, record, console), record.result["calibration"], console


def test_the_floor_is_what_equal_arms_stray_by(tmp_path, monkeypatch):
    code, told, _ = calibrated(tmp_path, monkeypatch)
    assert code is ExitCode.OK
    assert [each["process"] for each in told["comparisons"]] == [0] * 10 + [1] * 10
    assert told["floor"] == noise_floor.floor_from([each["ratio"] for each in told["comparisons"]])
    assert 0.002 < told["floor"] < 0.02
    assert told["false_verdict_rates"]["at_noise_floor"] <= 0.05
    assert (
        told["false_verdict_rates"]["without_margin"]
        >= told["false_verdict_rates"]["at_default_margin"]
    )


def test_each_trial_has_a_place_of_its_own_spoilt_measurements_included(tmp_path, monkeypatch):
    class Spoilt(Machine):
        def pool(self, arms, **settings):
            self.events = self.pools  # the second pair of processes compiles in every trial
            return super().pool(arms, **settings)

    calibrated(
        tmp_path, monkeypatch, machine=Spoilt(seed=1), study=Calibrate(repetitions=2, processes=3)
    )
    rows = [row for row in trials_of(tmp_path) if row["void"] == "False"]
    places = [
        tuple(row[key] for key in ("case", "process", "block", "pair", "arm")) for row in rows
    ]
    assert len(set(places)) == len(places)
    assert {(row["process"], row["case"]) for row in trials_of(tmp_path)} == {
        *(("0", case) for case in "01"),
        *(("1", case) for case in "23"),
        *(("2", case) for case in "45"),
    }


@pytest.mark.parametrize(
    ("story", "study"),
    [(calibration.calibrate, STUDY), (measure_once, Single())],
    ids=["calibrate", "single"],
)
def test_floors_that_cannot_be_read_are_refused_before_any_trial(
    story, study, tmp_path, monkeypatch
):
    path = noise_floor.save(KEY, {"floor": 0.02})
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


def test_later_runs_take_the_floor_as_their_margin(tmp_path, monkeypatch):
    experiment = same_experiment(STUDY, **PLAN)
    environment = {"device_kind": "cpu", "cpu": "Abacus 2"}
    assert judge.margin_of(experiment, environment)[0] == judge.DEFAULT_MARGIN
    _, told, _ = calibrated(tmp_path, monkeypatch)
    margin, source = judge.margin_of(experiment, environment)
    assert margin == told["floor"]
    assert "this machine's noise floor" in source


def test_calibrating_again_replaces_the_floor(tmp_path, monkeypatch):
    floors = [
        calibrated(tmp_path, monkeypatch, machine=Machine(seed=seed))[1]["floor"] for seed in (1, 2)
    ]
    assert floors[0] != floors[1]
    assert noise_floor.find(KEY)["floor"] == floors[1]


def test_the_floor_and_the_rates_are_printed(tmp_path, monkeypatch, capsys):
    _, told, console = calibrated(tmp_path, monkeypatch)
    console.summary(read_result(tmp_path) | {"calibration": told})
    printed = capsys.readouterr().out
    assert f"noise floor of {KEY}: {100 * told['floor']:.2f} %" in printed
    assert "20 measurements of an arm against itself" in printed


def test_no_measurement_begins_when_the_time_is_up_but_each_process_makes_one(
    tmp_path, monkeypatch
):
    study = Calibrate(repetitions=10, processes=3, max_seconds=0.0)
    _, told, _ = calibrated(tmp_path, monkeypatch, study=study)
    assert [each["process"] for each in told["comparisons"]] == [0, 1, 2]


def test_spoilt_measurements_keep_no_floor_and_say_why(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "Pool", Machine(seed=1, events=2).pool)
    with pytest.raises(UserError, match="study=calibrate measured nothing that counts"):
        execute(same_experiment(Calibrate(repetitions=1, processes=1), **PLAN), tmp_path)
    assert noise_floor.find(KEY) is None
    assert any("compiled in 3 trials" in note for note in read_result(tmp_path)["notes"])


def test_an_interrupt_keeps_what_was_measured_and_no_floor(tmp_path, monkeypatch):
    machine, experiment = Machine(seed=1), same_experiment(STUDY, **PLAN)
    monkeypatch.setattr(calibration, "Pool", machine.pool)
    measure = calibration.Repetitions.measure
    made = []

    def interrupted(self, **fault):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(measure(self, **fault))
        return made[-1]

    monkeypatch.setattr(calibration.Repetitions, "measure", interrupted)
    assert execute(experiment, tmp_path) is ExitCode.INTERRUPTED
    result = read_result(tmp_path)
    assert result["status"] == "failed"
    assert len(result["calibration"]["comparisons"]) == 3
    assert noise_floor.find(KEY) is None


def test_arms_that_differ_are_refused(tmp_path, monkeypatch):
    experiment = same_experiment(STUDY, **PLAN)
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
def test_a_whole_calibration_in_real_processes(tmp_path):
    overrides = (
        *SMALL,
        "study=calibrate",
        "baseline=same",
        "study.repetitions=2",
        "study.processes=1",
    )
    assert execute(load_experiment(overrides), tmp_path) is ExitCode.OK
    told = read_result(tmp_path)["calibration"]
    assert told["repetitions"] == 2
    assert noise_floor.find(told["key"])["floor"] == told["floor"]
