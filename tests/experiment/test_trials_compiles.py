"""Compiles inside the clock and outputs that change: voids, notes, spoilt measurements."""

import dataclasses
from collections import Counter

import pytest

from jaxgen.experiment.trials import MAX_VOIDS
from jaxgen.specs.jit import Strategy
from jaxgen.specs.score import Score
from support.small_runs import two_arms
from support.stand_in_workers import ANSWERS, WARM, Workers, measure

SCORES = {name: [{"scores": [0.5, 0.25]}] for name in ANSWERS}


def once(number):
    """Compiles in the third trial."""
    return 6 if number == 2 else 0


def always(number):
    return 4


class TestCompiles:
    def test_a_trial_that_compiles_is_void_and_repeated(self):
        made, told, workers = measure(Workers({"candidate": once}), blocks=3)
        compiled = told.compiled("candidate")
        assert Counter(workers.timed) == {"candidate": 13, "baseline": 12}
        assert (compiled["void_trials"], compiled["warm"], set(compiled["events_per_trial"])) == (
            1,
            False,
            {0},
        )
        assert made.dirty == []
        assert told.comparison["pairs"] == 12

    def test_the_repetition_follows_at_once_in_the_same_place(self):
        _, told, _ = measure(Workers({"candidate": lambda number: int(number == 0)}), blocks=3)
        rows = told.places("void", "case", "process", "block", "pair", "position", "arm")
        at = next(index for index, row in enumerate(rows) if row[0])
        assert rows[at][1:] == rows[at + 1][1:]
        assert rows[at + 1][0] is False

    def test_three_voids_end_it_and_make_it_dirty(self):
        made, told, workers = measure(Workers({"baseline": always}))
        assert Counter(workers.timed)["baseline"] == MAX_VOIDS == 3
        assert made.stopped_because == "the measurement is spoilt"
        assert made.dirty == ["cache=none compiled in 3 trials although it was warmed up"]
        assert told.comparison is None
        assert [row["void"] for row in told.rows if row["arm"] == "baseline"] == [True] * 3

    def test_an_arm_that_recompiles_by_nature_is_timed_as_it_is(self):
        made, told, _ = measure(Workers({"baseline": always}), jit=Strategy.partial, blocks=3)
        compiled = told.compiled("baseline")
        assert made.dirty == []
        assert (compiled["void_trials"], compiled["warm"]) == (0, False)
        assert compiled["events_per_trial"] == [4] * 12
        assert made.notes == [
            "cache=none jit=partial recompiled 2 functions in every trial: prefill, step"
        ]

    @pytest.mark.parametrize(
        ("plan", "key"),
        [({"warmup_tokens": 2}, "measure.warmup_tokens=2"), ({"warmup": 0}, "measure.warmup=0")],
    )
    def test_after_a_short_warm_up_compiles_are_shown_not_repeated(self, plan, key):
        made, _, workers = measure(Workers({"candidate": once}), call_s=None, blocks=3, **plan)
        assert Counter(workers.timed) == {"candidate": 12, "baseline": 12}
        (told,) = made.dirty
        assert told.startswith(
            "cache=fixed compiled inside the clock in 1 of 12 trials "
            "(6 compile events in the worst)"
        )
        assert told.endswith(f"because {key} leaves shapes of the trials cold")
        assert any("the warm-up was shorter than the trials" in note for note in made.notes)

    def test_a_short_warm_up_that_leaves_nothing_cold_is_only_noted(self):
        made, _, _ = measure(call_s=None, warmup_tokens=2)
        assert made.dirty == []
        assert len(made.notes) == 1


class TestOutputs:
    def test_the_same_tokens_in_every_trial_are_no_news(self):
        made, _, _ = measure()
        assert made.changed_outputs(ANSWERS) == []

    @pytest.mark.parametrize("number", [0, 1, 11])
    def test_other_tokens_in_any_trial_are_found(self, number):
        made, _, _ = measure(Workers(answers={("candidate", number): [[1, 2], [4]]}), blocks=3)
        assert made.changed_outputs(ANSWERS) == [
            "cache=fixed wrote other outputs in the trials than when the outputs were compared"
        ]

    @pytest.mark.parametrize(("scores", "changed"), [([0.5, 0.25], 0), ([0.5, 0.26], 1)])
    def test_scores_are_held_against_the_scores_of_then(self, scores, changed):
        given = {(arm, number): [[0.5, 0.25]] for arm in WARM for number in range(12)}
        arms = {}
        for name, arm in two_arms().items():
            run = dataclasses.replace(arm.run, workload=Score())
            arms[name] = dataclasses.replace(arm, run=run)
        workers = Workers(answers=given | {("baseline", 5): [scores]})
        made, _, _ = measure(workers, arms=arms, blocks=3)
        assert len(made.changed_outputs(SCORES)) == changed
        assert all(
            told.startswith("cache=none wrote other outputs")
            for told in made.changed_outputs(SCORES)
        )
