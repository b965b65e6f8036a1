"""The parent's clock around the trials: what it is asked for, and the faults that it finds."""

import dataclasses

import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.executor.pool import Pool
from jaxgen.experiment import second_clock
from jaxgen.experiment.trials import Trials
from jaxgen.measure.samples import Samples
from jaxgen.results.record import Record
from support.small_runs import METRICS, SCORING, SMALL, trials_of, two_arms
from support.stand_in_workers import Workers, measure


class TimedWorkers(Workers):
    """Say when their calls are done; time passes at their word alone."""

    def __init__(self, monkeypatch, *, clock=1.0, **how):
        super().__init__(**how)
        self.now_s, self._clock = 0.0, clock
        monkeypatch.setattr("jaxgen.experiment.second_clock.time.perf_counter", lambda: self.now_s)

    def call(self, arm, command, progress=None, **arguments):
        self.now_s += 0.001
        if command == "without_calls":
            self.calls.append((command, arm))
            progress("calls", 1, 1)
            return {"total_s": 0.0}
        answer = super().call(arm, command, **arguments)
        if command == "trial":
            self.now_s += sum(answer["call_s"])
            # The time of what comes behind the calls is no part of the trial.
            progress("calls", 1, 1)
            self.now_s += 5.0
            clock = self._clock if arm == "candidate" else 1.0
            answer["total_s"] = sum(answer["call_s"])
            answer["call_s"] = [clock * call_s for call_s in answer["call_s"]]
            answer["beside_s"] = 0.0
        return answer


def test_each_trial_has_its_seconds_by_the_parent_s_clock(monkeypatch):
    _, told, _ = measure(TimedWorkers(monkeypatch), trials=1, blocks=3, min_trial_s=0)
    candidate = [row["wall_s"] for row in told.rows if row["arm"] == "candidate"]
    assert candidate == pytest.approx([0.006] * 3)


def test_requests_without_calls_come_between_the_blocks_and_are_few(monkeypatch):
    _, _, workers = measure(TimedWorkers(monkeypatch), trials=1, blocks=9)
    asked = [arm for command, arm in workers.calls if command == "without_calls"]
    assert sorted(asked) == ["baseline"] * 5 + ["candidate"] * 5
    _, _, workers = measure(TimedWorkers(monkeypatch), trials=1, blocks=1)
    asked = [arm for command, arm in workers.calls if command == "without_calls"]
    assert sorted(asked) == ["baseline"] * 3 + ["candidate"] * 3


def test_a_wrong_clock_spoils_the_measurement_and_is_named(monkeypatch):
    made, _, _ = measure(TimedWorkers(monkeypatch, clock=0.9), trials=2, blocks=4)
    (reason,) = made.dirty
    assert reason.startswith("the timer is wrong: cache=fixed claims ")
    right, _, _ = measure(TimedWorkers(monkeypatch), trials=2, blocks=4)
    assert right.dirty == []


def test_workers_that_say_nothing_are_not_compared():
    made, told, workers = measure(trials=1, blocks=2)
    assert made.clocks == {}
    assert {row["wall_s"] for row in told.rows} == {None}
    assert {command for command, _ in workers.calls} == {"move_to_new_buffers", "trial"}


def test_the_comparison_stands_with_the_arm_once_for_each_pair_of_processes(tmp_path, monkeypatch):
    record = Record(two_arms(), tmp_path)
    for _ in range(2):
        made, _, _ = measure(TimedWorkers(monkeypatch), trials=2, blocks=4)
        second_clock.note(record, made.clocks, case=0)
    clocks = record.result["arms"]["baseline"]["clock"]
    assert len(clocks) == 2
    assert set(clocks[0]) == {
        "claimed_s",
        "wall_s",
        "beside_s",
        "without_calls_s",
        "unexplained",
        "smallest_error",
        "smallest_worker_error",
    }


def test_the_seconds_are_the_last_column_but_readers_take_them_for_no_metric(tmp_path):
    from jaxgen.results.reading import read_trials
    from support.small_runs import trial_row

    record = Record(two_arms(), tmp_path)
    record.add_trial(trial_row("candidate", wall_s=0.25))
    record.add_trial(trial_row("baseline"))
    assert [row["wall_s"] for row in trials_of(tmp_path)] == ["0.25", ""]
    assert set(read_trials(tmp_path / "trials.csv")[0].metrics) == set(METRICS)


LOOPS = {
    "device": (*SMALL, "workload.loop=device"),
    "host": (*SMALL, "workload.loop=host"),
    "score": SCORING,
}
WRONG = (0.9, 1.1, 0.5, 2.0, 1e-3)


@pytest.mark.slow  # starts workers, and makes trials of 0.1 s
@pytest.mark.parametrize("isolation", ["separate", "shared"])
@pytest.mark.parametrize("kind", LOOPS)
def test_every_wrong_clock_of_a_real_worker_is_found_and_a_right_one_is_not(
    kind, isolation, tmp_path
):
    overrides = [*LOOPS[kind], "baseline=same", f"measure.isolation={isolation}"]
    experiment = load_experiment(overrides)
    arms = experiment.arms
    plan = dataclasses.replace(
        experiment.measure, min_trial_s=0.1, trials=2, blocks=2, target_ci=1e-6
    )
    complaints = {}
    with Pool(arms, isolation=plan.isolation, log=tmp_path / "log") as pool:
        call_s, metrics = {}, {}
        for arm in arms:
            metrics = pool.load(arm, lambda *_progress: None)["metrics"]
            pool.call(arm, "prepare", case=0, warmup=1, warmup_tokens=None)
            call_s[arm] = pool.call(arm, "outputs", case=0)["call_s"]
        for clock in (1.0, *WRONG):
            pool.call("candidate", "inject_fault", fault={"clock": clock})
            trials = Trials(
                arms,
                pool,
                Samples(arms, metrics),
                plan=plan,
                on_trial=lambda _row: None,
                on_block=lambda _number, _pairs: None,
            )
            trials.run(call_s=call_s)
            complaints[clock] = trials.dirty
    assert complaints.pop(1.0) == []
    for clock, dirty in complaints.items():
        assert len(dirty) == 1, (clock, dirty)
        assert dirty[0].startswith("the timer is wrong: the candidate claims ")
