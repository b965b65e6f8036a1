"""The scoring workload: one request or a grid of them, and what a call of it yields."""

import dataclasses

import numpy as np
import pytest

from jaxgen.config.experiment import load_experiment
from jaxgen.engine.hlo import inspection
from jaxgen.engine.next_token import next_logprobs
from jaxgen.errors import UserError
from jaxgen.specs.fault import Fault
from jaxgen.specs.measure import Measure
from jaxgen.specs.score import Score
from jaxgen.workloads import create
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.cost import token_bytes
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.score import METRICS, Scoring
from support import small_models
from support.small_models import CACHES

QUERY, ITEMS, LABELS = (3, 1, 4, 1, 5), ((9,), (2, 6), ()), (5, 3, 5)
BYTES = Codec(None, vocab_size=97, random=True)


def scoring(*, cache="fixed", fault=None, **changed):
    """A workload of token ids over the small Llama."""
    given = {"query": QUERY, "items": ITEMS, "label_token_ids": LABELS, "labels": None} | changed
    run = dataclasses.replace(small_models.run(cache=CACHES[cache]), workload=Score(**given))
    return create.create(small_models.engine(run), BYTES, faults=Faults(fault or Fault()))


def scores(workload, case=0):
    return np.array([row["scores"] for row in workload.outputs(case, workload.call(case))])


@pytest.fixture(scope="module")
def plain():
    return scoring()


def test_a_request_is_one_case_without_parameters(plain):
    assert type(plain) is Scoring
    assert [dict(case.params) for case in plain.cases] == [{}]
    assert plain.metrics is METRICS
    assert plain.inputs() == [[[[*QUERY, *item] for item in ITEMS], list(LABELS)]]


def test_rows_are_items_in_their_order_and_columns_labels(plain):
    rows = plain.outputs(0, plain.call(0))
    assert [(row["index"], row["item"]) for row in rows] == [(0, [9]), (1, [2, 6]), (2, [])]
    given = np.array([row["scores"] for row in rows])
    np.testing.assert_array_equal(given[:, 0], given[:, 2])  # the same label twice
    expected = np.array(
        [np.exp(next_logprobs(plain._engine, [*QUERY, *item])[[5, 3, 5]]) for item in ITEMS]
    )
    np.testing.assert_allclose(given, expected, rtol=1e-4)


def test_an_item_is_told_as_it_was_given_on_either_side_of_the_query():
    given = scoring(item_first=True)
    assert [row["item"] for row in given.outputs(0, given.call(0))] == [[9], [2, 6], []]
    random = scoring(item_first=True, item_tokens=3)
    items = [row["item"] for row in random.outputs(0, random.call(0))]
    assert [[*item, *QUERY] for item in items] == random.inputs()[0][0]


def test_three_calls_are_bit_equal(plain):
    first = scores(plain)
    assert all(np.array_equal(scores(plain), first) for _ in range(2))


def test_a_trial_s_metrics_are_over_all_its_calls(plain):
    calls = [dataclasses.replace(plain.call(0), latency_s=seconds) for seconds in (0.1, 0.3)]
    assert plain.measured(calls) == {
        "items_per_s": pytest.approx(2 * 3 / 0.4),
        "latency_s": pytest.approx(0.2),
    }
    assert [plain.call_s(call) for call in calls] == [0.1, 0.3]


def test_the_query_s_reuse_is_counted(plain):
    facts = plain.facts(0, None, [])
    reuse = {"hits": 2, "misses": 1, "fallbacks": 0, "note": None}  # an empty item adds no token
    saved = {"saved_tokens": 5, "saved_bytes": 5 * token_bytes(plain._engine)}
    assert facts["prefix"] == reuse | saved
    assert (
        facts["items"],
        facts["labels"],
        facts["query_tokens"],
        facts["longest_row_tokens"],
    ) == (3, 3, 5, 7)
    assert scoring(prefix_cache=False).facts(0, None, [])["prefix"]["misses"] == 3
    assert "keeps nothing" in scoring(cache="none").facts(0, None, [])["prefix"]["note"]


def test_reuse_changes_no_score(plain):
    np.testing.assert_allclose(
        scores(plain), scores(scoring(prefix_cache=False)), rtol=0, atol=1e-6
    )


@pytest.fixture(scope="module")
def grid():
    """Four cases."""
    return scoring(batch_sizes=(1, 4), num_labels=(2, 5), item_tokens=3)


class TestGrid:
    def test_every_batch_size_meets_every_number_of_labels(self, grid):
        params = [tuple(case.params.values()) for case in grid.cases]
        assert params == [(1, 2), (1, 5), (4, 2), (4, 5)]
        for case, (items, labels) in enumerate(params):
            assert scores(grid, case).shape == (items, labels)

    def test_items_are_random_ids_of_the_length_that_is_asked_for(self, grid):
        rows, labels = grid.inputs()[3]
        assert {len(row) for row in rows} == {len(QUERY) + 3}
        assert len({tuple(row) for row in rows}) == 4
        assert labels == sorted(set(labels))

    def test_one_axis_alone_takes_the_other_from_the_request(self):
        assert [dict(case.params) for case in scoring(batch_sizes=(2,)).cases] == [
            {"batch_size": 2, "num_labels": 3}
        ]
        assert [dict(case.params) for case in scoring(num_labels=(4,)).cases] == [
            {"batch_size": 3, "num_labels": 4}
        ]

    def test_a_warm_case_compiles_nothing(self, grid, ledger):
        for case in range(len(grid.cases)):
            grid.warm_up(case, new_tokens=None)
        mark = ledger.mark()
        for case in range(len(grid.cases)):
            scores(grid, case)
        assert ledger.since(mark).events == 0

    def test_more_items_are_more_work(self, grid):
        work = [grid.steps(case)["latency_s"] for case in range(4)]
        assert work[0].flops < work[2].flops
        assert (
            work[0].nbytes < work[2].nbytes < 2 * work[0].nbytes
        )  # the weights are read twice either way


def test_rows_that_continue_the_query_read_its_keys_and_values(monkeypatch):
    """For each of two batches, the 8 slots that 5 tokens are padded to."""
    workload = scoring(items=((9,), (2, 6), (7, 7, 7)), batch_size=2)
    whole = workload.steps(0)["latency_s"]
    monkeypatch.setattr("jaxgen.workloads.cost.token_bytes", lambda *_: 0)
    without = workload.steps(0)["latency_s"]
    assert whole.nbytes - without.nbytes == 2 * 8 * token_bytes(workload._engine)
    assert whole.flops == without.flops


def test_programs_have_one_hash_whatever_the_strategy_kept(plain):
    facts = inspection.examine(plain._engine, plain.programs(0))
    assert list(facts["programs"]) == [
        "prefill_query",
        "score_vocabulary_continued_2x4",
        "score_vocabulary_1x8",
    ]
    again = scoring()
    assert (
        inspection.examine(again._engine, again.programs(0))["stablehlo_sha256"]
        == facts["stablehlo_sha256"]
    )


def test_looking_at_the_programs_compiles_nothing(ledger):
    workload = scoring()
    workload.call(0)
    workload.programs(0)
    mark = ledger.mark()
    inspection.examine(workload._engine, workload.programs(0))
    assert ledger.since(mark).events == 0


def test_softmax_needs_less_of_the_head_and_sums_to_one():
    among = scoring(apply_softmax=True)
    np.testing.assert_allclose(scores(among).sum(axis=1), 1, rtol=0, atol=1e-6)
    assert among.steps(0)["latency_s"].flops < scoring().steps(0)["latency_s"].flops


def test_faults_are_seen_in_the_answers(plain):
    wrong = scores(scoring(fault=Fault(wrong_token=True)))
    assert wrong[0, 0] == 1 - scores(plain)[0, 0]
    np.testing.assert_array_equal(wrong.ravel()[1:], scores(plain).ravel()[1:])


def test_a_score_that_is_no_number_is_null(plain):
    call = plain.call(0)
    spoilt = dataclasses.replace(
        call, scores=tuple(batch * np.float32("nan") for batch in call.scores)
    )
    assert plain.outputs(0, spoilt)[1]["scores"] == [None] * 3


def test_what_cannot_be_scored_is_refused_when_the_arm_is_made():
    with pytest.raises(UserError, match=r"label_token_ids\[0\]=97 is outside the vocabulary of 97"):
        scoring(label_token_ids=(97,))


class TestPlan:
    @pytest.mark.parametrize(
        ("runs", "trials", "blocks"), [(20, 4, 5), (10, 2, 5), (7, 1, 7), (3, 3, 1)]
    )
    def test_the_number_of_runs_is_met_exactly(self, runs, trials, blocks):
        plan = Measure(trials=4).for_calls(Score(num_runs=runs).fixed_calls)
        assert (plan.trials, plan.blocks, plan.min_trial_s) == (trials, blocks, 0)

    def test_without_one_the_measurement_is_as_it_was_asked_for(self):
        plan = Measure()
        assert plan.for_calls(Score().fixed_calls) is plan

    def test_a_short_warm_up_is_for_generation_alone(self):
        with pytest.raises(UserError, match=r"measure\.warmup_tokens"):
            load_experiment(["workload=score", "measure.warmup_tokens=3"])
