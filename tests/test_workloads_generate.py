"""What a call of the generation workload yields, and the arithmetic from its clocks to its metrics."""

import dataclasses

import pytest
import small_models

from jaxgen.workloads import generate
from jaxgen.workloads.generate import METRICS, Timed
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.text import Codec

BYTES = Codec(None, vocab_size=97, random=True)


def timed(*, ttft_s=0.5, latency_s=2.0, tokens=8, steps=3):
    return Timed(ttft_s=ttft_s, latency_s=latency_s, tokens=tokens, steps=steps, state=None)


class TestMetrics:
    def test_there_is_one_value_for_each_metric(self):
        assert generate.metrics([timed()]).keys() == METRICS.keys()

    def test_one_batch(self):
        assert generate.metrics([timed()]) == {"tokens_per_s": 4.0, "latency_s": 2.0, "ttft_s": 0.5, "tpot_s": 0.5}

    def test_several_batches_and_calls(self):
        values = generate.metrics([timed(), timed(ttft_s=1.0, latency_s=6.0, tokens=16, steps=7)])
        assert values == {"tokens_per_s": 24 / 8, "latency_s": 4.0, "ttft_s": 0.75, "tpot_s": 6.5 / 10}

    def test_one_token_has_no_time_per_later_token(self):
        assert generate.metrics([timed(latency_s=0.5, tokens=4, steps=0)])["tpot_s"] is None

    @pytest.mark.parametrize(
        "calls",
        [[timed()], [timed(), timed(latency_s=3.0)], [timed(), timed(ttft_s=0.25, latency_s=9.0, steps=20)]],
        ids=["one", "two alike", "two of different lengths"],
    )
    def test_ttft_and_the_later_tokens_make_up_the_latency(self, calls):
        values = generate.metrics(calls)
        later = sum(call.steps for call in calls) / len(calls)
        assert values["ttft_s"] + later * values["tpot_s"] == pytest.approx(values["latency_s"])


@pytest.fixture(scope="module")
def engine():
    return small_models.engine(small_models.run(batch_size=2))


@pytest.fixture(scope="module")
def called(engine):
    batches = engine.batches(small_models.PROMPTS)
    return batches, generate.call(engine, batches)


class TestCall:
    def test_every_batch_is_timed_to_its_first_and_last_token(self, called):
        _, calls = called
        assert [call.tokens for call in calls] == [2 * small_models.NEW_TOKENS, small_models.NEW_TOKENS]
        assert {call.steps for call in calls} == {small_models.NEW_TOKENS - 1}
        assert all(0 < call.ttft_s < call.latency_s for call in calls)

    def test_the_longest_row_counts_the_steps(self):
        first = small_models.tokens(small_models.engine())
        ending = first[0][2]  # the first row's third token ends it; other rows may go on
        lengths = [row.index(ending) + 1 if ending in row else len(row) for row in first]
        architecture = small_models.FAMILIES["llama"]
        stopping = dataclasses.replace(architecture, eos_token_ids=(ending,))
        model = small_models.engine(small_models.run(architecture=stopping))
        (call,) = generate.call(model, model.batches(small_models.PROMPTS))
        assert (call.tokens, call.steps) == (sum(lengths), max(lengths) - 1)
        assert min(lengths) < max(lengths)


class TestRows:
    def test_there_is_a_row_for_each_prompt_over_all_batches(self, engine, called):
        prompts = [Prompt(tokens=tokens, text=f"prompt {tokens}") for tokens in small_models.PROMPTS]
        rows = generate.outputs(*called, prompts, BYTES)
        assert [row["tokens"] for row in rows] == small_models.tokens(engine)
        assert rows[2] == {
            "index": 2,
            "prompt": "prompt (58, 3)",
            "prompt_tokens": [58, 3],
            "tokens": rows[2]["tokens"],
            "text": None,
            "finish_reason": "length",
        }
