"""The course of the trials against stand-ins for the workers: order, voids, limits, and what is said of compiles."""

import types
from collections import Counter

import pytest
from small_runs import arm, loaded_facts, read_result, two_arms

from jaxgen import trials as trials_module
from jaxgen.console import Console
from jaxgen.record import Record
from jaxgen.spec.jit import Strategy
from jaxgen.spec.measure import Measure
from jaxgen.trials import MAX_VOIDS, Trials, names_of

ANSWERS = {name: [{"tokens": [1, 2]}, {"tokens": [3]}] for name in ("candidate", "baseline")}
WARM = {"candidate": 0.1, "baseline": 0.1}
"""What a call takes, in seconds."""


class Workers:
    """Stands in for the pool: notes its calls; `events` are what the n-th trial of an arm compiles."""

    def __init__(self, events=None, *, tokens=None, speeds=None):
        self.calls = []
        self._events = events or {}
        self._tokens = tokens or {}
        self._speeds = speeds or (lambda arm, number: {"candidate": 200.0, "baseline": 100.0}[arm])
        self._done = Counter()

    def call(self, arm, command, **arguments):
        self.calls.append((command, arm))
        if command == "place":
            return None
        number = self._done[arm]
        self._done[arm] += 1
        events = self._events.get(arm, lambda number: 0)(number)
        speed = self._speeds(arm, number)
        return {
            "metrics": {"tokens_per_s": speed, "latency_s": arguments["repeats"] / speed},
            "events": events,
            "functions": {"step": 1, "prefill": 1} if events else {},
            "tokens": self._tokens.get((arm, number), [row["tokens"] for row in ANSWERS[arm]]),
        }

    @property
    def timed(self):
        """The arms in the order of their trials."""
        return [arm for command, arm in self.calls if command == "trial"]


@pytest.fixture
def measured(tmp_path):
    """Runs trials; returns them, the record and the workers."""

    def measure(workers=None, *, arms=None, call_s=WARM, jit=Strategy.closure, **plan):
        workers = workers or Workers()
        plan = Measure(**({"trials": 4, "blocks": 5, "target_ci": 1e-6} | plan))
        arms = arms or two_arms(jit=jit, measure=plan)
        record = Record(arms, tmp_path)
        for name in arms:
            record.loaded(name, loaded_facts())
        made = Trials(arms, workers, record, Console(arms, tmp_path))
        made.run(call_s=call_s)
        return made, record, workers

    return measure


def noisy(arm, number):
    """Speeds whose ratio differs from block to block by some ten percent."""
    return 100.0 * (1 + 0.1 * ((number // 4) % 3)) if arm == "candidate" else 100.0


class TestOrder:
    def test_the_arms_take_turns_to_go_first(self, measured):
        _, _, workers = measured(Workers(speeds=noisy))
        pairs = list(zip(workers.timed[::2], workers.timed[1::2], strict=True))
        assert len(pairs) == 20
        assert {frozenset(pair) for pair in pairs} == {frozenset(WARM)}
        assert Counter(first for first, _ in pairs) == {"candidate": 10, "baseline": 10}

    def test_each_block_places_both_arms_anew_in_alternating_order(self, measured):
        _, _, workers = measured(Workers(speeds=noisy), blocks=4)
        placed = [arm for command, arm in workers.calls if command == "place"]
        first, second = placed[:2]
        assert {first, second} == {"candidate", "baseline"}
        assert placed == [first, second, second, first] * 2

    def test_every_trial_knows_its_place(self, measured):
        _, record, _ = measured(Workers(speeds=noisy), trials=2, blocks=3)
        rows = [line.split(",")[:5] for line in (record.folder / "trials.csv").read_text().splitlines()[1:]]
        assert [row[:4] for row in rows] == [
            ["0", str(block), str(pair), str(position)]
            for block in range(3)
            for pair in range(2)
            for position in (0, 1)
        ]

    def test_without_a_baseline_the_candidate_alone_is_measured(self, measured):
        alone = {"candidate": arm("candidate", measure=Measure(trials=4, blocks=2))}
        made, record, workers = measured(arms=alone, call_s={"candidate": 0.1})
        assert workers.calls == ([("place", "candidate")] + [("trial", "candidate")] * 4) * 2
        assert record.result["comparison"] == {}
        assert (made.stopped_because, made.dirty) == ("blocks limit", [])


class TestStop:
    def test_a_narrow_interval_ends_the_trials(self, measured):
        made, record, _ = measured(target_ci=0.02)
        assert made.stopped_because == "target_ci reached"
        assert record.result["comparison"]["tokens_per_s"]["blocks"] == 3

    def test_a_wide_interval_goes_on_to_the_limit(self, measured):
        made, record, _ = measured(Workers(speeds=noisy), target_ci=0.02)
        assert made.stopped_because == "blocks limit"
        assert record.result["comparison"]["tokens_per_s"]["blocks"] == 5

    def test_no_block_begins_after_the_time_is_up(self, measured, monkeypatch):
        clock = iter(range(0, 1000, 9))
        monkeypatch.setattr(trials_module, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
        made, record, _ = measured(Workers(speeds=noisy), max_seconds=30.0, blocks=9)
        assert made.stopped_because == "max_seconds limit"
        assert record.result["comparison"]["tokens_per_s"]["blocks"] == 4

    def test_the_result_is_saved_after_each_block(self, measured, tmp_path):
        blocks = []

        def speeds(arm, number):
            compared = read_result(tmp_path)["comparison"]
            blocks.append(compared["tokens_per_s"]["blocks"] if compared else 0)
            return noisy(arm, number)

        measured(Workers(speeds=speeds), trials=1, blocks=3)
        assert blocks == [0, 0, 1, 1, 2, 2]


class TestSize:
    def test_a_short_call_is_repeated_to_fill_a_trial(self, measured):
        made, _, _ = measured(call_s={"candidate": 0.01, "baseline": 0.02}, min_trial_s=0.2)
        assert made.repeats == 20

    def test_both_arms_repeat_alike(self, measured, tmp_path):
        measured(call_s={"candidate": 0.01, "baseline": 0.05})
        column = {line.rsplit(",", 1)[1] for line in (tmp_path / "trials.csv").read_text().splitlines()[1:]}
        assert column == {"20"}

    @pytest.mark.parametrize(("slow_s", "pairs"), [(0.5, 4), (2.0, 3), (3.0, 2), (5.0, 1), (60.0, 1)])
    def test_a_slow_arm_gets_fewer_pairs_in_a_block(self, slow_s, pairs, measured):
        _, record, _ = measured(
            Workers(speeds=noisy), call_s={"candidate": 0.1, "baseline": slow_s}, max_seconds=20.0, blocks=3
        )
        assert record.result["comparison"]["tokens_per_s"]["pairs"] == 3 * pairs

    def test_arms_that_are_not_warm_are_measured_as_planned(self, measured):
        made, _, workers = measured(call_s=None, warmup_tokens=2, blocks=1)
        assert (made.repeats, len(workers.timed)) == (1, 8)


def once(number):
    """Compiles in the third trial."""
    return 6 if number == 2 else 0


def always(number):
    return 4


class TestCompiles:
    def test_a_trial_that_compiles_is_void_and_repeated(self, measured):
        made, record, workers = measured(Workers({"candidate": once}), blocks=3)
        compiled = record.result["arms"]["candidate"]["compile"]
        assert Counter(workers.timed) == {"candidate": 13, "baseline": 12}
        assert (compiled["void_trials"], compiled["warm"], set(compiled["events_per_trial"])) == (1, True, {0})
        assert made.dirty == []
        assert record.result["comparison"]["tokens_per_s"]["pairs"] == 12

    def test_the_repetition_follows_at_once_in_the_same_place(self, measured, tmp_path):
        measured(Workers({"candidate": lambda number: int(number == 0)}), blocks=3)
        rows = [line.split(",") for line in (tmp_path / "trials.csv").read_text().splitlines()[1:]]
        at = next(index for index, row in enumerate(rows) if row[8] == "True")
        assert rows[at][:5] == rows[at + 1][:5]
        assert rows[at + 1][8] == "False"

    def test_three_voids_end_it_and_make_it_dirty(self, measured):
        made, record, workers = measured(Workers({"baseline": always}))
        assert Counter(workers.timed)["baseline"] == MAX_VOIDS == 3
        assert made.stopped_because == "the measurement is spoilt"
        assert made.dirty == ["cache=none compiled in 3 trials although it was warmed up"]
        assert record.result["comparison"] == {}

    def test_an_arm_that_recompiles_by_nature_is_timed_as_it_is(self, measured):
        made, record, _ = measured(Workers({"baseline": always}), jit=Strategy.partial, blocks=3)
        compiled = record.result["arms"]["baseline"]["compile"]
        assert made.dirty == []
        assert (compiled["void_trials"], compiled["warm"]) == (0, False)
        assert compiled["events_per_trial"] == [4] * 12
        assert record.result["notes"] == ["cache=none jit=partial recompiled 2 functions in every trial: prefill, step"]

    @pytest.mark.parametrize(
        ("plan", "key"), [({"warmup_tokens": 2}, "measure.warmup_tokens=2"), ({"warmup": 0}, "measure.warmup=0")]
    )
    def test_after_a_short_warm_up_compiles_are_shown_not_repeated(self, plan, key, measured):
        made, record, workers = measured(Workers({"candidate": once}), call_s=None, blocks=3, **plan)
        assert Counter(workers.timed) == {"candidate": 12, "baseline": 12}
        (told,) = made.dirty
        assert told.startswith(
            "cache=fixed compiled inside the clock in 1 of 12 trials (6 compile events in the worst)"
        )
        assert told.endswith(f"because {key} leaves shapes of the trials cold")
        assert any("the warm-up was shorter than the trials" in note for note in record.result["notes"])

    def test_a_short_warm_up_that_leaves_nothing_cold_is_only_noted(self, measured):
        made, record, _ = measured(call_s=None, warmup_tokens=2)
        assert made.dirty == []
        assert len(record.result["notes"]) == 1


class TestOutputs:
    def test_the_same_tokens_in_every_trial_are_no_news(self, measured):
        made, _, _ = measured()
        assert made.changed_outputs(ANSWERS) == []

    @pytest.mark.parametrize("number", [0, 1, 11])
    def test_other_tokens_in_any_trial_are_found(self, number, measured):
        made, _, _ = measured(Workers(tokens={("candidate", number): [[1, 2], [4]]}), blocks=3)
        assert made.changed_outputs(ANSWERS) == [
            "cache=fixed wrote other tokens in the trials than when the outputs were compared"
        ]


class TestNames:
    @pytest.mark.parametrize(
        ("choices", "names"),
        [
            ({}, ("the candidate", "the baseline")),
            ({"cache": "none"}, ("cache=fixed", "cache=none")),
            ({"cache": "none", "dtype": "bfloat16"}, ("cache=fixed dtype=float32", "cache=none dtype=bfloat16")),
            ({"baseline": "same"}, ("the candidate", "the baseline")),
        ],
    )
    def test_arms_are_called_by_what_they_differ_in(self, choices, names):
        arms = {"candidate": arm("candidate"), "baseline": arm("baseline", **choices)}
        assert tuple(names_of(arms).values()) == names
