"""What a call of the generation workload yields: its cases, clocks and metrics."""

import dataclasses
import time

import pytest

from jaxgen.errors import UserError
from jaxgen.specs.cache import Dynamic, Fixed, NoCache
from jaxgen.specs.fault import Fault
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import METRICS_AT_DEPTH, Generating
from jaxgen.workloads.prompts import Prompt, at_depth
from jaxgen.workloads.timing import METRICS, Timed
from support import small_models

ONE_LAYER = dataclasses.replace(small_models.FAMILIES["llama"], num_layers=1)
BYTES = Codec(None, vocab_size=97, random=True)
PROMPTS = [Prompt(tokens=tokens, text=f"prompt {tokens}") for tokens in small_models.PROMPTS]
STEPS = small_models.NEW_TOKENS - 1


def timed(*, ttft_s=0.5, latency_s=2.0, tokens=8, steps=3):
    written = [([1] * tokens, "length")]
    return Timed(
        ttft_s=ttft_s,
        latency_s=latency_s,
        decode_s=latency_s - ttft_s,
        steps=steps,
        inside_s=latency_s,
        outputs=written,
    )


def workload(**changed):
    """The workload of a small engine of few programs, two rows at a time."""
    given = {"architecture": ONE_LAYER, "cache": Fixed(bucket=0), "batch_size": 2}
    engine = small_models.engine(small_models.run(**(given | changed)))
    return Generating(engine, PROMPTS, BYTES, faults=Faults(Fault()))


def faulty(other, **fault):
    """Another workload on the same engine, with a fault."""
    return Generating(other._engine, PROMPTS, BYTES, faults=Faults(Fault(**fault)))


@pytest.fixture(scope="module")
def plain():
    """Without cases."""
    return workload()


@pytest.fixture(scope="module")
def deep():
    """With a case each at no token but one, and at six."""
    return workload(depths=(0, 6))


class TestMetrics:
    def test_there_is_one_value_for_each_metric(self, plain, deep):
        assert list(plain.measured([[timed()]])) == list(METRICS)
        assert list(deep.measured([[timed()]])) == list(METRICS_AT_DEPTH)

    def test_one_batch(self, plain):
        assert plain.measured([[timed()]]) == {
            "tokens_per_s": 4.0,
            "latency_s": 2.0,
            "ttft_s": 0.5,
            "tpot_s": 0.5,
        }

    @pytest.mark.parametrize("split", [1, 2], ids=["two batches of a call", "two calls"])
    def test_several_batches_and_calls(self, split, plain):
        both = [timed(), timed(ttft_s=1.0, latency_s=6.0, tokens=16, steps=7)]
        calls = [both] if split == 1 else [[each] for each in both]
        values = plain.measured(calls)
        assert values == {
            "tokens_per_s": 24 / 8,
            "latency_s": 4.0,
            "ttft_s": 0.75,
            "tpot_s": 6.5 / 10,
        }

    def test_one_token_has_no_time_per_later_token(self, plain):
        assert plain.measured([[timed(latency_s=0.5, tokens=4, steps=0)]])["tpot_s"] is None

    @pytest.mark.parametrize(
        "calls",
        [
            [timed()],
            [timed(), timed(latency_s=3.0)],
            [timed(), timed(ttft_s=0.25, latency_s=9.0, steps=20)],
        ],
        ids=["one", "two alike", "two of different lengths"],
    )
    def test_ttft_and_the_later_tokens_make_up_the_latency(self, calls, plain):
        values = plain.measured([calls])
        later = sum(call.steps for call in calls) / len(calls)
        assert values["ttft_s"] + later * values["tpot_s"] == pytest.approx(values["latency_s"])

    def test_at_depths_the_verdict_is_about_the_decode(self, plain, deep):
        assert next(iter(plain.metrics)) == "tokens_per_s"
        assert next(iter(deep.metrics)) == "tpot_s"


class TestCall:
    def test_every_batch_is_timed_to_its_first_and_last_token(self, plain):
        calls = plain.call(0)
        counts = [[len(tokens) for tokens, _ in call.outputs] for call in calls]
        assert counts == [[small_models.NEW_TOKENS] * 2, [small_models.NEW_TOKENS]]
        assert {call.steps for call in calls} == {STEPS}
        assert all(0 < call.ttft_s < call.latency_s for call in calls)

    def test_the_longest_row_counts_the_steps(self):
        made = workload(batch_size=3)
        first = [row["tokens"] for row in made.outputs(0, made.call(0))]
        ending = first[0][2]  # the first row's third token ends it; other rows may go on
        lengths = [row.index(ending) + 1 if ending in row else len(row) for row in first]
        (call,) = workload(
            architecture=dataclasses.replace(ONE_LAYER, eos_token_ids=(ending,)), batch_size=3
        ).call(0)
        assert ([len(tokens) for tokens, _ in call.outputs], call.steps) == (
            lengths,
            max(lengths) - 1,
        )
        assert min(lengths) < max(lengths)

    def test_a_warm_up_leaves_nothing_to_compile_for_a_call(self, ledger):
        made = workload()
        made.warm_up(0, new_tokens=None)
        mark = ledger.mark()
        made.call(0)
        assert ledger.since(mark).events == 0

    def test_a_short_warm_up_leaves_the_later_depths_cold(self, ledger):
        made = workload(cache=Fixed(bucket=4))  # reads 4, 8, then 12 slots
        made.warm_up(0, new_tokens=1)
        mark = ledger.mark()
        made.call(0)
        assert ledger.since(mark).events > 0

    def test_a_clock_that_runs_slow_is_seen_in_the_times(self, plain):
        slow = faulty(plain, clock=1e-6)
        start = time.perf_counter()
        calls = slow.call(0)
        assert 0 < sum(call.latency_s for call in calls) < 1e-5 * (time.perf_counter() - start)


class TestRows:
    def test_there_is_a_row_for_each_prompt_over_all_batches(self, plain):
        rows = plain.outputs(0, plain.call(0))
        assert [row["tokens"] for row in rows] == small_models.tokens(plain._engine)
        assert rows[2] == {
            "index": 2,
            "prompt": "prompt (58, 3)",
            "prompt_tokens": [58, 3],
            "tokens": rows[2]["tokens"],
            "text": None,
            "finish_reason": "length",
        }

    def test_a_wrong_token_is_the_last_of_the_first_row_of_each_batch(self, plain):
        wrong = faulty(plain, wrong_token=True)
        good, bad = (each.outputs(0, each.call(0)) for each in (plain, wrong))
        differ = [
            (row, place)
            for row, (one, other) in enumerate(zip(good, bad, strict=True))
            for place, (a, b) in enumerate(zip(one["tokens"], other["tokens"], strict=True))
            if a != b
        ]
        assert differ == [(0, STEPS), (2, STEPS)]


class TestDepths:
    @pytest.mark.parametrize("depth", [0, 1, 2, 5, 20])
    def test_rows_are_filled_with_the_prompts_end_to_end(self, depth):
        first, second = at_depth(PROMPTS, depth, rows=2)
        assert first.tokens == ((41, 7, 90, 33, 58, 3) * 4)[: max(depth, 1)]
        assert second.tokens == ((7, 90, 33, 58, 3, 41) * 4)[: max(depth, 1)]

    def test_there_are_as_many_rows_as_the_batch_has_whatever_the_prompts_are(self):
        assert len(at_depth(PROMPTS[:1], 4, rows=3)) == 3

    def test_each_depth_is_a_case(self, plain, deep):
        assert [dict(case.params) for case in plain.cases] == [{}]
        assert [dict(case.params) for case in deep.cases] == [{"depth": 0}, {"depth": 6}]

    def test_all_cases_are_asked(self, plain, deep):
        assert plain.inputs() == [list(prompt) for prompt in small_models.PROMPTS]
        assert [len(tokens) for tokens in deep.inputs()] == [1, 1, 6, 6]

    def test_all_cases_share_one_capacity(self, deep):
        assert deep._batches[0][0].capacity == deep._batches[1][0].capacity
        assert (deep._batches[0][0].longest, deep._batches[1][0].longest) == (1, 6)

    def test_the_answers_of_a_case_are_those_to_its_prompts(self, deep):
        rows = deep.outputs(1, deep.call(1))
        assert [row["prompt_tokens"] for row in rows] == [
            list(tokens) for tokens in deep.inputs()[2:]
        ]
        assert {row["finish_reason"] for row in rows} == {"length"}

    def test_a_depth_that_does_not_fit_is_refused(self):
        with pytest.raises(UserError, match="60"):
            workload(depths=(1, 60))


class TestWork:
    @pytest.mark.parametrize(
        ("cache", "nbytes"),
        [(Fixed(max_len=16), 2 * 2 * 16 * 2 * 10 * 4), (NoCache(), 0), (Dynamic(), None)],
        ids=repr,
    )
    def test_the_size_of_the_cache_is_null_only_where_it_grows(self, cache, nbytes):
        assert (
            workload(cache=cache).kv_cache_bytes == nbytes
        )  # keys and values, rows, slots, kv heads, head dim, float32

    def test_a_deeper_step_moves_more(self):
        made = workload(depths=(0, 6), cache=NoCache())
        shallow, deeper = made.steps(0), made.steps(1)
        assert list(shallow) == ["ttft_s", "tpot_s"]
        assert all(0 < shallow[metric].nbytes < deeper[metric].nbytes for metric in shallow)
        assert all(0 < shallow[metric].flops < deeper[metric].flops for metric in shallow)

    def test_the_last_step_is_no_less_than_the_mean_one(self, deep):
        assert deep.last_step(1).nbytes >= deep.steps(1)["tpot_s"].nbytes

    def test_how_prompts_became_batches_is_told(self, plain, deep):
        facts = plain.facts(0, [], [])
        assert facts == {
            "batches": 2,
            "prompt_tokens": 6,
            "padded_prompt_tokens": 2 * 10 + 1 * 10,
            "cache": None,
        }
        assert deep.facts(1, [], [])["prompt_tokens"] == 12

    def test_a_call_lasted_as_long_as_its_batches(self, plain):
        assert plain.call_s([timed(), timed(latency_s=3.0)]) == 5.0

    def test_one_new_token_has_no_decode_step(self):
        made = workload(max_new_tokens=1)
        assert made.steps(0)["tpot_s"] is None
        assert made.last_step(0) is None


def test_the_workload_of_a_run_is_found_by_its_spec(plain):
    assert type(plain) is Generating
