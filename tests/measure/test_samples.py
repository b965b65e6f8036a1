"""What the trials of a case say, from rows alone: summaries, comparisons, and what cannot be."""

import math

import pytest

from jaxgen.measure.drift import MIN_SAMPLES
from jaxgen.measure.samples import Samples
from support.small_runs import METRICS, paired, trial_row


def samples(*rows, arms=("candidate", "baseline"), metrics=METRICS):
    made = Samples(arms, metrics)
    for row in rows:
        made.add(row)
    return made


class TestSummary:
    def test_a_metric_without_samples_is_null(self):
        found = samples().summary("candidate")
        metric = found["metrics"]["tokens_per_s"]
        assert (metric["n"], metric["samples"], metric["mean"], metric["median"]) == (
            0,
            [],
            None,
            None,
        )
        assert (metric["unit"], metric["better"]) == ("tokens/s", "higher")
        assert found["compile"] == {
            "events_per_trial": [],
            "warm": None,
            "functions": {},
            "void_trials": 0,
        }

    def test_a_void_trial_is_counted_but_its_figures_are_not(self):
        found = samples(
            trial_row(
                "candidate", tokens_per_s=1.0, void=True, compile_events=3, functions={"step": 3}
            ),
            trial_row("candidate", tokens_per_s=100.0),
        ).summary("candidate")
        assert found["metrics"]["tokens_per_s"]["samples"] == [100.0]
        assert found["compile"] == {
            "events_per_trial": [0],
            "warm": False,
            "functions": {},
            "void_trials": 1,
        }

    def test_compiles_of_trials_that_count_are_summed_by_function(self):
        found = samples(
            *(
                trial_row("candidate", compile_events=6, functions=each)
                for each in ({"step": 1, "a": 1}, {"step": 2})
            )
        ).summary("candidate")
        assert found["compile"]["events_per_trial"] == [6, 6]
        assert (found["compile"]["warm"], found["compile"]["functions"]) == (
            False,
            {"step": 3, "a": 1},
        )

    def test_each_arm_has_its_own(self):
        found = paired(2.0)
        assert found.summary("baseline")["metrics"]["tokens_per_s"]["max"] == pytest.approx(101)
        assert found.summary("candidate")["metrics"]["tokens_per_s"]["max"] == pytest.approx(202)

    def test_every_call_counts_whatever_the_trial_it_was_in(self):
        rows = [trial_row("candidate", call_s=call_s) for call_s in ([0.1, 0.3], [0.2])]
        calls = samples(*rows).summary("candidate")["calls"]
        assert (calls["samples"], calls["unit"], calls["p50"]) == ([0.1, 0.3, 0.2], "s", 0.2)

    def test_the_first_metric_is_the_one_of_the_verdict(self):
        assert samples().primary == "tokens_per_s"
        assert samples(metrics=dict(reversed(METRICS.items()))).primary == "latency_s"


class TestComparison:
    def test_the_ratio_is_above_one_where_the_candidate_is_better_whichever_way_the_metric_points(
        self,
    ):
        found = paired(2.0).comparison()
        assert found["tokens_per_s"]["ratio"] == pytest.approx(2.0)
        assert found["latency_s"]["ratio"] == pytest.approx(2.0)

    def test_pairs_match_by_process_block_and_pair_whatever_their_order(self):
        made = samples()
        for process, block, pair, speed in (
            (0, 0, 0, 2.0),
            (0, 0, 1, 4.0),
            (0, 1, 0, 8.0),
            (1, 0, 0, 16.0),
        ):
            place = {"process": process, "block": block, "pair": pair}
            made.add(trial_row("candidate", tokens_per_s=100.0 * speed * (1 + pair)) | place)
        for process, block, pair in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)):
            place = {"process": process, "block": block, "pair": pair}
            made.add(trial_row("baseline", tokens_per_s=100.0 * (1 + pair)) | place)
        found = made.comparison()["tokens_per_s"]
        assert (found["pairs"], found["blocks"], found["processes"]) == (4, 3, 2)
        assert found["ratio"] == pytest.approx(
            ((8**0.5 * 8) ** 0.5 * 16) ** 0.5
        )  # processes count equally

    def test_the_stopping_rule_learns_where_each_process_lies(self):
        made = paired(4.0)
        for block, speed in ((3, 100.0), (4, 110.0), (5, 120.0)):
            made.add(trial_row("baseline", block=block) | {"process": 1})
            made.add(trial_row("candidate", block=block, tokens_per_s=speed) | {"process": 1})
        centres = made.centres()
        assert centres.means[0] == pytest.approx(math.log(4.0))
        assert centres.means[1] == pytest.approx(math.log(1.1 * 1.2) / 3)
        assert float(centres.centre) == pytest.approx(
            math.log(made.comparison()["tokens_per_s"]["ratio"])
        )

    def test_processes_together_count_equally(self):
        made = paired(4.0)
        for block in (3, 4):
            for name in ("baseline", "candidate"):
                made.add(trial_row(name, block=block) | {"process": 1})
        assert made.comparison()["tokens_per_s"]["ratio"] == pytest.approx(2.0)

    def test_a_trial_without_its_partner_is_left_out(self):
        made = paired(2.0, blocks=2)
        made.add(trial_row("candidate", block=2, tokens_per_s=1e6))
        assert made.comparison()["tokens_per_s"]["pairs"] == 4

    def test_a_pair_of_which_one_value_is_null_is_left_out_of_that_metric_alone(self):
        made = paired(2.0, blocks=2)
        made.add(trial_row("baseline", block=2))
        made.add(
            trial_row("candidate", block=2)
            | {"metrics": {"tokens_per_s": 200.0, "latency_s": None}}
        )
        assert {metric: each["pairs"] for metric, each in made.comparison().items()} == {
            "tokens_per_s": 5,
            "latency_s": 4,
        }

    def test_a_void_trial_gives_its_place_to_the_one_that_repeats_it(self):
        found = samples(
            trial_row("baseline"),
            trial_row("candidate", tokens_per_s=1.0, void=True),
            trial_row("candidate", tokens_per_s=300.0),
        ).comparison()
        assert found["tokens_per_s"]["ratio"] == pytest.approx(3.0)

    def test_nothing_is_compared_without_a_pair_or_a_second_arm(self):
        assert samples(trial_row("candidate")).comparison() == {}
        assert samples(trial_row("candidate"), arms=("candidate",)).comparison() == {}


class TestStability:
    @pytest.fixture
    def falling(self):
        """The candidate loses a tenth from first to last trial; one trial stands out."""
        made = Samples(("candidate", "baseline"), METRICS)
        for number in range(2 * MIN_SAMPLES):
            fallen = 100.0 * (1 - 0.1 * number / (2 * MIN_SAMPLES - 1))
            made.add(
                trial_row("candidate", block=number, tokens_per_s=5.0 if number == 6 else fallen)
            )
            made.add(trial_row("baseline", block=number, tokens_per_s=100.0 + number % 2))
        return made

    def test_a_drift_is_found_in_the_arm_that_drifts(self, falling):
        found = falling.drift()
        assert found["candidate"]["change"] == pytest.approx(-0.1, abs=0.02)
        assert found["candidate"]["p_value"] < 0.01 < found["baseline"]["p_value"]

    def test_a_trial_that_stands_out_is_named_and_counted(self, falling):
        (found,) = falling.outliers()
        assert (found["arm"], found["block"], found["value"]) == ("candidate", 6, 5.0)
        assert falling.summary("candidate")["metrics"]["tokens_per_s"]["min"] == 5.0

    def test_void_trials_neither_drift_nor_stand_out(self, falling):
        before = falling.drift()
        falling.add(trial_row("candidate", block=99, tokens_per_s=1e6, void=True))
        assert falling.drift() == before
        assert len(falling.outliers()) == 1


class TestProblems:
    def test_sound_samples_have_none(self):
        assert paired(2.0).problems() == []

    def test_arms_of_different_numbers_of_trials(self):
        made = paired(2.0)
        made.add(trial_row("baseline", block=9))
        (told,) = made.problems()
        assert told == "the arms have different numbers of trials: {'candidate': 6, 'baseline': 7}"

    def test_after_a_void_trial_the_numbers_may_differ(self):
        made = paired(2.0)
        made.add(trial_row("baseline", block=9))
        made.add(trial_row("candidate", block=9, void=True))
        assert made.problems() == []

    @pytest.mark.parametrize("latency_s", [0.0, -0.5])
    def test_a_metric_that_is_not_positive(self, latency_s):
        wrong = trial_row(
            "candidate", block=4, metrics={"tokens_per_s": 5.0, "latency_s": latency_s}
        )
        (told,) = samples(wrong, arms=("candidate",)).problems()
        assert told.startswith("candidate has a metric that is not positive in block 4")

    def test_a_metric_that_is_not_positive_does_not_stop_the_figures(self):
        made = paired(2.0)
        for name in ("candidate", "baseline"):
            made.add(trial_row(name, block=3, metrics={"tokens_per_s": 0.0, "latency_s": -1.0}))
        assert (
            made.comparison()["tokens_per_s"]["pairs"]
            == made.comparison()["latency_s"]["pairs"]
            == 6
        )
        assert made.outliers() == []
        assert made.drift().keys() == {"candidate", "baseline"}
        assert len(made.problems()) == 2

    def test_the_first_token_after_the_last(self):
        wrong = trial_row("candidate", metrics={"latency_s": 1.0, "ttft_s": 1.5})
        (told,) = samples(wrong, arms=("candidate",)).problems()
        assert told.startswith("candidate has its first token after its last in block 0")

    def test_what_could_not_be_measured_is_no_problem(self):
        row = trial_row("candidate", metrics={"latency_s": 1.0, "ttft_s": None, "tpot_s": None})
        assert samples(row, arms=("candidate",)).problems() == []


def test_only_metrics_that_mean_the_same_are_compared():
    made = paired(samples=Samples(("candidate", "baseline"), METRICS, comparable=("tokens_per_s",)))
    assert list(made.comparison()) == ["tokens_per_s"]
    assert list(made.summary("baseline")["metrics"]) == list(METRICS)


class TestBlockMeans:
    """The mean log ratio of each block, which a study keeps of its measurements."""

    def rows_of(self, *blocks):
        """Trials whose candidate is so many times as fast as the baseline: blocks of pairs."""
        rows = []
        for block, factors in enumerate(blocks):
            for pair, factor in enumerate(factors):
                place = {"block": block, "pair": pair}
                rows.append(trial_row("candidate", tokens_per_s=100.0 * factor, **place))
                rows.append(trial_row("baseline", tokens_per_s=100.0, **place))
        return rows

    @pytest.mark.parametrize("metric", ["tokens_per_s", "latency_s"])
    def test_above_0_the_candidate_is_better_whichever_way_the_metric_points(self, metric):
        rows = self.rows_of([2.0], [1.0, 4.0])
        means = samples(*rows, metrics={metric: METRICS[metric]}).block_means()
        assert means == pytest.approx([math.log(2), math.log(2)])

    def test_void_trials_and_those_without_a_partner_count_nowhere(self):
        rows = self.rows_of([2.0], [3.0])
        rows.append(trial_row("candidate", block=0, tokens_per_s=900.0, void=True))
        rows.append(trial_row("candidate", block=2, tokens_per_s=900.0))
        assert samples(*rows).block_means() == pytest.approx([math.log(2), math.log(3)])

    def test_what_has_no_logarithm_is_left_out(self):
        rows = [*self.rows_of([2.0]), trial_row("candidate", block=1, tokens_per_s=-1.0)]
        rows.append(trial_row("baseline", block=1))
        assert len(samples(*rows).block_means()) == 1
