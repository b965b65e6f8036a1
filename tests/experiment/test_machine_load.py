"""A busy machine: how long a run waits for it, and what becomes of its verdict."""

import contextlib
import types

import pytest

from jaxgen.errors import UserError
from jaxgen.experiment import machine_load
from jaxgen.experiment.trial_load import TrialLoad
from jaxgen.machine import cpu_load
from jaxgen.measure.samples import Samples
from jaxgen.results.record import Record
from jaxgen.specs.measure import Measure
from support.small_runs import METRICS, trial_row, two_arms


@pytest.fixture
def record(tmp_path):
    record = Record(two_arms(), tmp_path)
    record.result["environment"] = {}
    return record


@pytest.fixture
def waiting(record, monkeypatch):
    """Waits by a plan while others use the given shares, a second each; returns what was shown."""

    def wait(shares, **plan):
        now, shown, looks = [0.0], [], iter(shares)

        def look():
            now[0] += 1.0
            return next(looks)

        @contextlib.contextmanager
        def stage(arm, text):
            shown.append(text)
            yield lambda *progress: shown.append(progress)

        monkeypatch.setattr(machine_load, "_watched_share", look)
        monkeypatch.setattr(machine_load.time, "monotonic", lambda: now[0])
        machine_load.wait_until_quiet(Measure(**plan), record, types.SimpleNamespace(stage=stage))
        return shown, now[0]

    return wait


class TestWaiting:
    def test_a_quiet_machine_is_not_waited_for(self, waiting, record):
        assert waiting([0.15]) == ([], 1.0)
        assert record.result["notes"] == []

    def test_the_run_goes_on_when_others_are_done(self, waiting, record):
        shown, waited_s = waiting([0.5, 0.4, 0.21, 0.2])
        assert waited_s == 4.0
        assert shown == [
            "wait until other programs use less of the processor",
            ("others use 50%, waited s", 0, 30),
            ("others use 40%, waited s", 1, 30),
            ("others use 21%, waited s", 2, 30),
        ]
        assert record.result["notes"] == ["waited 3 s for a quiet machine"]

    def test_after_the_limit_it_goes_on_all_the_same_and_says_so(self, waiting, record):
        _, waited_s = waiting([0.6] * 99, max_wait_s=5)
        assert waited_s == 6.0
        assert record.result["notes"] == [
            (
                "waited 5 s for a quiet machine in vain: other programs used 60% of the processor "
                "to the end"
            )
        ]

    def test_the_limit_is_that_of_the_whole_run(self, waiting, record):
        assert waiting([0.6] * 99, max_wait_s=5)[1] == 6.0
        assert record.result["environment"]["waited_s"] == 5.0
        # The next case or pair of processes has nothing left to wait, and does not look.
        assert waiting([0.6] * 99, max_wait_s=5) == ([], 0.0)
        assert waiting([0.6] * 99, max_wait_s=8)[1] == 4.0
        assert record.result["environment"]["waited_s"] == 8.0

    @pytest.mark.parametrize("plan", [{"max_wait_s": 0}, {"max_foreign_load": 1}], ids=str)
    def test_who_accepts_a_busy_machine_does_not_even_look(self, plan, waiting):
        assert waiting([], **plan) == ([], 0.0)

    def test_where_the_load_is_unknown_there_is_nothing_to_wait_for(self, waiting):
        assert waiting([None]) == ([], 1.0)


def busy_samples(share, **seen):
    """Samples of both arms, of which others used a share; null is not known."""
    samples = Samples(two_arms(), METRICS)
    for arm in ("candidate", "baseline"):
        for block in range(3):
            foreign = None if share is None else 0.4 * share
            available = None if share is None else 0.4
            columns = {"available_cpu_s": available, "foreign_cpu_s": foreign, **seen}
            samples.add(trial_row(arm, block=block, **columns))
    return samples


def judged(record, samples, *, verdict="faster", **plan):
    record.result["verdict"] = verdict
    record.result["verdict_reason"] = "cache=fixed is 4.00x faster than cache=none"
    machine_load.judge(record, samples, case=0, plan=Measure(**plan))
    return record.result["verdict"], record.result["verdict_reason"]


class TestVerdict:
    @pytest.mark.parametrize("verdict", ["faster", "slower", "equivalent"])
    def test_nothing_is_claimed_of_a_busy_machine(self, verdict, record):
        word, reason = judged(record, busy_samples(0.45), verdict=verdict)
        assert word == "inconclusive"
        assert reason == (
            "other programs used 45% of the processor during the trials, more than "
            "measure.max_foreign_load=0.2 allows: measure again on a quieter machine, or accept "
            "this one with measure.max_foreign_load=1; what was measured: cache=fixed is 4.00x "
            "faster than cache=none"
        )

    @pytest.mark.parametrize("verdict", ["invalid", "inconclusive"])
    def test_what_claims_nothing_stays_and_the_load_is_noted(self, verdict, record):
        word, reason = judged(record, busy_samples(0.45), verdict=verdict)
        assert (word, reason) == (verdict, "cache=fixed is 4.00x faster than cache=none")
        assert "other programs used 45%" in record.result["notes"][0]

    @pytest.mark.parametrize("share", [0.0, 0.19, None])
    def test_a_quiet_or_unknown_machine_leaves_the_verdict(self, share, record):
        word, reason = judged(record, busy_samples(share))
        assert (word, reason) == ("faster", "cache=fixed is 4.00x faster than cache=none")

    def test_a_busy_machine_can_be_accepted_knowingly(self, record):
        assert judged(record, busy_samples(0.8), max_foreign_load=1)[0] == "faster"
        assert record.result["notes"] == [
            (
                "other programs used 80% of the processor during the trials, which "
                "measure.max_foreign_load=1 accepts"
            )
        ]

    def test_a_limit_of_one_s_own_counts(self, record):
        assert judged(record, busy_samples(0.45), max_foreign_load=0.5)[0] == "faster"


class TestFigures:
    def test_each_arm_has_its_own_load(self, record):
        samples = busy_samples(0.1, steal_s=0.02, throttled_s=0.0)
        samples.add(trial_row("baseline", block=3, throttled_s=0.5, foreign_cpu_s=None))
        judged(record, samples)
        load = {arm: record.result["arms"][arm]["load"] for arm in ("candidate", "baseline")}
        assert load["candidate"] == {
            "foreign_cpu_share": pytest.approx(0.1),
            "steal_share": pytest.approx(0.05),
            "throttled_s": 0.0,
            "throttled_trials": 0,
        }
        assert (load["baseline"]["throttled_s"], load["baseline"]["throttled_trials"]) == (0.5, 1)

    def test_a_container_s_limit_is_named(self, record):
        samples = busy_samples(0.0, throttled_s=0.25)
        assert judged(record, samples)[0] == "faster"
        assert record.result["notes"] == [
            (
                "the container's limit of processor time stopped the run in 6 trials, for 1.5 s in "
                "all: give it more, or fewer threads"
            )
        ]

    def test_rounding_below_nothing_evens_out_over_the_trials(self):
        rows = [
            trial_row("candidate", available_cpu_s=0.4, foreign_cpu_s=foreign)
            for foreign in (-0.01, 0.01)
        ]
        assert machine_load.load_of(rows)["foreign_cpu_share"] == 0.0

    def test_what_is_not_known_is_null(self):
        assert set(machine_load.load_of([trial_row("candidate")]).values()) == {None}


@pytest.mark.parametrize(("governor", "noted"), [("powersave", True), ("performance", False)])
def test_a_governor_that_slows_the_clock_down_is_noted(governor, noted, record, monkeypatch):
    monkeypatch.setattr(machine_load, "NOISY_SHARE", 1.0)
    record.result["environment"] = {"processor": {"governor": governor}}
    machine_load.note(record, machine_load.Load(foreign_device=None))
    assert any(f"governor {governor}" in text for text in record.result["notes"]) == noted


def test_the_load_of_a_trial_is_that_since_the_one_before(monkeypatch):
    readings = iter([(10.0, 4.0, 1.0, 0.0), (12.0, 5.0, 1.5, 0.25), (14.0, 7.0, 1.5, None)])

    def snapshot(processes):
        available, busy, own, throttled = next(readings)
        return {
            "machine_cpu_s": available,
            "busy_cpu_s": busy,
            "steal_s": 0.0,
            "own_cpu_s": {"1": own},
            "throttled_s": throttled,
        }

    monkeypatch.setattr(cpu_load, "snapshot", snapshot)
    monkeypatch.setattr(cpu_load.cgroup, "cpu_limit", lambda: None)
    load = TrialLoad()
    assert load.since_last() == {
        "available_cpu_s": 2.0,
        "foreign_cpu_s": 0.5,
        "steal_s": 0.0,
        "throttled_s": 0.25,
    }
    second = load.since_last()
    assert (second["foreign_cpu_s"], second["throttled_s"]) == (2.0, None)


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_an_impossible_limit_is_refused(share):
    with pytest.raises(UserError, match="max_foreign_load"):
        Measure(max_foreign_load=share)
