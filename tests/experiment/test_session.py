"""One pair of stand-in processes: the order of the commands, and what is on disk by then."""

import contextlib
from collections import Counter

import pytest

from jaxgen.console.progress import Console
from jaxgen.executor.pool import ArmFailed
from jaxgen.experiment import output_check
from jaxgen.experiment.execute import _measure_case
from jaxgen.experiment.session import Session
from jaxgen.results.record import Record
from jaxgen.specs.study import Single
from support.small_runs import read_result
from support.stand_in_machine import Machine, StandInPool, same_experiment

AGREED = {"status": "different", "reasons": ["prompt 0 parts at token 3"], "warnings": []}
PROBE = {"bandwidth_bytes_per_s": 1e9, "bandwidth_samples": [1e9], "bandwidth_form": "sum"}
PROBE |= {"peak_flops_per_s": 1e9, "flops_samples": [1e9], "flops_form": "dot"}


class Workers(StandInPool):
    """Keeps every call; it dies in the trial `dies`, and each look finds a higher peak."""

    def __init__(self, arms, *, dies=None):
        super().__init__(Machine(seed=0), arms)
        self.asked = []
        self._dies = dies
        self._counts = Counter()

    def call_all(self, command, **arguments):
        self.asked.append((command, "each"))
        return {arm: getattr(self, command)(arm, **arguments) for arm in self.environments}

    def call(self, arm, command, **arguments):
        self.asked.append((command, arm))
        return super().call(arm, command, **arguments)

    def outputs(self, arm, case):
        call = {"events": 0, "functions": {}}
        return super().outputs(arm, case) | {"rows": [{"tokens": [1]}], "call": call, "facts": {}}

    def trial(self, arm, case, repeats):
        self._counts["trial"] += 1
        if self._counts["trial"] == self._dies:
            raise ArmFailed(arm, {"kind": "killed", "message": "the worker was killed"})
        return super().trial(arm, case, repeats)

    def scale(self, arm, case):
        del arm, case
        return {"steps": {"latency_s": None}, "probe": PROBE}

    def reset_peaks(self, arm):
        del arm

    def peaks(self, arm):
        self._counts[arm] += 1
        known = 1000 * self._counts[arm]
        return {"host_peak_rss_bytes": known, "device_peak_bytes": known + 1, "device_reason": None}

    def capture(self, arm, case, path):
        del arm, case, path


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Measures the first case; returns the workers and the session, whatever became of it."""
    monkeypatch.setattr(output_check, "agreement_of", lambda arms, pool, rows, case, plan: AGREED)

    def measure(*, process=0, blocks=2, **how):
        # As many blocks in each pair of processes up to this one.
        plan = {"blocks": blocks * (process + 1), "processes": process + 1}
        experiment = same_experiment(Single(), trials=2, **plan)
        arms = experiment.arms
        pool, record = Workers(arms, **how), Record(arms, tmp_path)
        console = Console(experiment, tmp_path)
        session = Session(arms, pool, record, console, plan=experiment.measure, process=process)
        session.load()
        outcome = session.outcome()
        outcome.answers = {arm: [{"tokens": [1]}] for arm in arms}
        with contextlib.suppress(ArmFailed):
            _measure_case(session, outcome, case=0)
        return pool, session

    return measure


def test_memory_is_looked_at_before_the_probes_which_need_more(measured):
    pool, session = measured()
    commands = [command for command, _ in pool.asked if command != "move_to_new_buffers"]
    first, last = commands.index("scale"), len(commands) - 1 - commands[::-1].index("trial")
    assert commands.index("peaks") < first < commands.index("reset_peaks")
    assert commands[last + 1 :] == ["peaks", "scale", "scale", "capture", "capture"]
    assert session.peaks["candidate"] == {
        "host_peak_rss_bytes": 2000,
        "device_peak_bytes": 1001,
        "device_reason": None,
    }


def test_the_device_is_probed_for_one_arm_after_the_other(measured):
    pool, _ = measured()
    assert [arm for command, arm in pool.asked if command == "scale"] == [
        "candidate",
        "baseline",
    ] * 2


def test_what_is_known_of_the_outputs_outlives_a_crash_in_the_trials(measured, tmp_path):
    measured(dies=1)
    assert read_result(tmp_path)["agreement"] == AGREED


def test_every_pair_of_processes_leaves_its_figures_block_by_block(measured, tmp_path):
    measured(process=1, dies=6)
    assert read_result(tmp_path)["comparison"]["tokens_per_s"]["pairs"] == 2


def test_what_was_measured_before_a_crash_is_compared_whole(measured, tmp_path):
    """Two pairs, four trials, make a block: the fourth block begins with trial 13."""
    measured(blocks=8, dies=14)
    result = read_result(tmp_path)
    comparison = result["comparison"]["tokens_per_s"]
    assert (comparison["blocks"], comparison["pairs"]) == (3, 6)
    assert result["arms"]["candidate"]["metrics"]["tokens_per_s"]["n"] in (6, 7)
