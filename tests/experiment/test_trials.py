"""The course of the trials against stand-in workers: their order, their limits, their rows."""

import types
from collections import Counter

import pytest

from jaxgen.experiment import trials as trials_module
from jaxgen.experiment.trials import Trials
from jaxgen.measure.samples import Samples
from jaxgen.measure.schedule import Share
from jaxgen.measure.start_spread import StartSpread
from jaxgen.specs.measure import Measure
from support.small_runs import METRICS, two_arms
from support.stand_in_workers import WARM, Workers, measure, noisy


def alike():
    """Samples of a machine whose starts are all alike."""
    return Samples(two_arms(), METRICS, start=StartSpread(0.0, 100, "all alike"))


class TestOrder:
    def test_the_arms_take_turns_to_go_first(self):
        _, _, workers = measure(Workers(speeds=noisy))
        pairs = list(zip(workers.timed[::2], workers.timed[1::2], strict=True))
        assert len(pairs) == 20
        assert {frozenset(pair) for pair in pairs} == {frozenset(WARM)}
        assert Counter(first for first, _ in pairs) == {"candidate": 10, "baseline": 10}

    def test_each_block_places_both_arms_anew_in_alternating_order(self):
        _, _, workers = measure(Workers(speeds=noisy), blocks=4)
        placed = [arm for command, arm in workers.calls if command == "move_to_new_buffers"]
        first, second = placed[:2]
        assert {first, second} == {"candidate", "baseline"}
        assert placed == [first, second, second, first] * 2

    def test_every_trial_knows_its_place(self):
        _, told, _ = measure(Workers(speeds=noisy), trials=2, blocks=3)
        assert told.places("case", "process", "block", "pair", "position") == [
            (0, 0, block, pair, position)
            for block in range(3)
            for pair in range(2)
            for position in (0, 1)
        ]

    def test_a_case_and_a_process_are_told_and_blocks_go_on_counting(self):
        where = {"case": 2, "process": 1, "first_block": 7}
        _, told, workers = measure(Workers(speeds=noisy), trials=1, blocks=3, where=where)
        assert told.places("case", "process", "block")[::2] == [
            (2, 1, block) for block in (7, 8, 9)
        ]
        assert {asked["case"] for asked in workers.asked} == {2}

    def test_the_order_depends_on_the_block_s_number_over_all_processes(self):
        _, _, whole = measure(Workers(speeds=noisy), trials=1, blocks=4)
        _, _, first = measure(Workers(speeds=noisy), trials=1, blocks=2)
        _, _, second = measure(
            Workers(speeds=noisy), trials=1, blocks=2, where={"process": 1, "first_block": 2}
        )
        assert first.calls + second.calls == whole.calls

    def test_without_a_baseline_the_candidate_alone_is_measure(self):
        alone = {"candidate": two_arms()["candidate"]}
        made, told, workers = measure(arms=alone, call_s={"candidate": 0.1}, trials=4, blocks=2)
        block = [("move_to_new_buffers", "candidate")] + [("trial", "candidate")] * 4
        assert workers.calls == block * 2
        assert told.comparison is None
        assert (made.stopped_because, made.dirty) == ("blocks limit", [])


class TestStop:
    def test_a_narrow_interval_ends_the_trials(self):
        made, told, _ = measure(target_ci=0.02, blocks=9, samples=alike())
        assert (made.stopped_because, made.blocks) == ("target_ci reached", 6)
        assert told.comparison["blocks"] == 6

    def test_the_interval_that_ends_them_is_that_of_all_processes(self):
        """A second process that disagrees makes it wide, so that it is measured to its limit."""
        _, told, _ = measure(blocks=6)
        slower = Workers(speeds=lambda arm, number: 100.0)
        where = {"process": 1, "first_block": 6, "share": Share(8, 10.0, 2)}
        made, told, _ = measure(slower, target_ci=0.02, samples=told.samples, where=where)
        assert made.stopped_because == "blocks limit"
        assert (told.comparison["blocks"], told.comparison["processes"]) == (14, 2)

    def test_a_clear_answer_ends_them_where_no_width_is_asked_for(self):
        made, _, _ = measure(target_ci=None, blocks=40, trials=1)
        assert (made.stopped_because, made.blocks) == ("the question is settled", 12)

    def test_a_wide_interval_goes_on_to_the_limit(self):
        made, told, _ = measure(Workers(speeds=noisy), target_ci=0.02)
        assert made.stopped_because == "blocks limit"
        assert told.comparison["blocks"] == made.blocks == 5

    def test_no_block_begins_after_the_time_is_up(self, monkeypatch):
        clock = iter(range(0, 1000, 9))
        monkeypatch.setattr(
            trials_module, "time", types.SimpleNamespace(monotonic=lambda: next(clock))
        )
        made, told, _ = measure(Workers(speeds=noisy), max_seconds=30.0, blocks=9)
        assert made.stopped_because == "max_seconds limit"
        assert told.comparison["blocks"] == 4


class TestSinks:
    def test_each_trial_is_told_before_the_next_begins(self):
        rows, seen = [], []

        def speeds(arm, number):
            seen.append(len(rows))
            return noisy(arm, number)

        plan = Measure(trials=1, blocks=3, target_ci=1e-6, processes=1)
        arms, workers = two_arms(), Workers(speeds=speeds)
        samples = Samples(arms, METRICS)
        trials = Trials(
            arms,
            workers,
            samples,
            plan=plan,
            on_trial=rows.append,
            on_block=lambda *_block: None,
        )
        trials.run(call_s=WARM)
        assert seen == [0, 1, 2, 3, 4, 5]
        assert [row for row in rows if row["arm"] == "baseline"] == samples.valid("baseline")

    def test_each_block_is_told_when_its_trials_are_there(self):
        _, told, _ = measure(Workers(speeds=noisy), trials=3, blocks=3, where={"first_block": 5})
        assert told.blocks == [(0, 3), (1, 3), (2, 3)]
        assert len(told.rows) == 18


class TestSize:
    def test_each_arm_s_call_is_repeated_to_fill_a_trial(self):
        made, told, workers = measure(call_s={"candidate": 0.01, "baseline": 0.03}, min_trial_s=0.2)
        assert made.repeats == {"candidate": 20, "baseline": 7}
        assert set(told.places("arm", "repeats")) == {("candidate", 20), ("baseline", 7)}
        assert {asked["repeats"] for asked in workers.asked} == {20, 7}

    def test_the_ratio_is_that_of_one_call_however_often_it_is_repeated(self):
        _, told, _ = measure(call_s={"candidate": 0.005, "baseline": 0.01}, min_trial_s=0.1)
        assert set(told.places("arm", "repeats")) == {("candidate", 20), ("baseline", 10)}
        for metric in ("tokens_per_s", "latency_s"):
            assert told.samples.comparison()[metric]["ratio"] == pytest.approx(2.0)
        assert told.samples.problems() == []

    @pytest.mark.parametrize(
        ("slow_s", "pairs"), [(0.5, 4), (2.0, 3), (3.0, 2), (5.0, 1), (60.0, 1)]
    )
    def test_a_slow_arm_gets_fewer_pairs_in_a_block(self, slow_s, pairs):
        _, told, _ = measure(
            Workers(speeds=noisy),
            call_s={"candidate": 0.1, "baseline": slow_s},
            max_seconds=20.0,
            blocks=3,
        )
        assert told.comparison["pairs"] == 3 * pairs

    def test_arms_that_are_not_warm_are_measured_as_planned(self):
        made, _, workers = measure(call_s=None, warmup_tokens=2, blocks=1)
        assert made.repeats == {"candidate": 1, "baseline": 1}
        assert len(workers.timed) == 8
