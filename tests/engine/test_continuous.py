"""Continuous batching: every output is what it is alone, and nothing compiles on the way."""

import copy
import dataclasses
import time

import numpy as np
import pytest

from jaxgen.engine.continuous import Continuous, Request
from jaxgen.engine.continuous_call import Call
from jaxgen.engine.teacher_forcing import forced_logprobs
from jaxgen.errors import ExitCode, UserError
from jaxgen.specs.cache import Fixed, Paged
from jaxgen.specs.fault import Fault
from jaxgen.specs.prompts import Synthetic
from jaxgen.specs.workload import Batching
from jaxgen.workloads import create
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.continuous import Serving
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.prompts import Prompt
from support import small_models
from support.small_runs import execute_small

SHAPES = small_models.DEEP_FAMILIES["llama"]
BYTES = Codec(None, vocab_size=97, random=True)
SHARED = tuple(range(10, 29))


def requests(count=7, *, shared=(), seed=0):
    """Prompts of 1 to 20 tokens with 1 to 12 to come; each begins with `shared`."""
    random = np.random.default_rng(seed)
    return [
        Request(
            (*shared, *random.integers(0, 97, random.integers(1, 21)).tolist()),
            int(random.integers(1, 13)),
        )
        for _ in range(count)
    ]


def served(engine, asked):
    call = Call(Continuous(engine, asked), clock=time.perf_counter)
    call.run()
    return call, [list(text.tokens) for text in call.served]


@pytest.fixture(scope="module")
def engine():
    """By cache; engines keep their programs."""
    made = {}

    def of(cache, **work):
        key = (cache, tuple(work.items()))
        if key not in made:
            changed = {
                "architecture": SHAPES,
                "batch_size": 3,
                "batching": Batching.continuous,
                "ignore_eos": True,
            }
            made[key] = small_models.engine(
                small_models.run(cache=cache, max_new_tokens=12, **(changed | work))
            )
        return made[key]

    return of


@pytest.fixture(scope="module")
def alone(engine):
    """The tokens of each request, generated alone, with no row shared."""

    def of(asked):
        static = engine(Fixed(bucket=0, max_len=52), batching=Batching.static, batch_size=1)
        limits = [each.new_tokens for each in asked]
        return small_models.tokens(static, [each.tokens for each in asked], limits=limits)

    return of


CACHES = {
    "fixed": Fixed(bucket=16),
    "paged": Paged(page_size=4, bucket=16),
    "few pages": Paged(page_size=4, bucket=16, num_pages=13),
}


@pytest.mark.parametrize("cache", CACHES.values(), ids=list(CACHES))
def test_each_text_is_what_it_is_alone(cache, engine, alone, ledger):
    asked = requests()
    model = engine(cache)
    call, tokens = served(model, asked)
    assert tokens == alone(asked)
    assert call.most_rows == (3 if cache != CACHES["few pages"] else 2)
    assert 0 < call.held < call.taken
    mark = ledger.mark()
    _, again = served(model, asked)
    assert ledger.since(mark).events == 0
    assert again == tokens


def test_texts_that_begin_alike_share_pages(engine, alone):
    asked = [
        *requests(5, shared=SHARED),
        *requests(2, shared=SHARED[:6]),
        *requests(1, shared=SHARED),
    ]
    asked.append(asked[0])
    model = engine(Paged(page_size=4, bucket=16), shared_prefix=True)
    call, tokens = served(model, asked)
    assert tokens == alone(asked)
    facts = call.manager.facts()
    assert facts["hits"] == 8
    assert facts["kept_tokens"] >= 5 * 19 + 2 * 6
    assert facts["copied_pages"] >= 5  # 19 tokens do not fill their last page, 6 neither
    plain, _ = served(engine(Paged(page_size=4, bucket=16)), asked)
    assert facts["most_pages"] < plain.manager.facts()["most_pages"]


def test_rows_are_given_on_within_a_window(engine):
    cache, asked = Fixed(bucket=16, window=9), requests()
    static = engine(dataclasses.replace(cache, bucket=0), batching=Batching.static, batch_size=1)
    limits = [each.new_tokens for each in asked]
    alone = small_models.tokens(static, [each.tokens for each in asked], limits=limits)
    assert served(engine(cache), asked)[1] == alone


@pytest.mark.parametrize(
    ("cache", "slots"),
    [(CACHES["fixed"], 32), (CACHES["paged"], 32), (Fixed(bucket=16, window=9), 9)],
    ids=str,
)
def test_the_tokens_held_are_counted_step_by_step(engine, cache, slots):
    asked = requests()
    call, tokens = served(engine(cache), asked)
    ends = [
        (len(each.tokens), len(each.tokens) + len(new))
        for each, new in zip(asked, tokens, strict=True)
    ]
    assert call.held == sum(
        min(length, slots) for first, last in ends for length in range(first + 1, last)
    )
    assert call.held <= call.taken


def test_a_text_may_end_with_its_first_token(engine, alone):
    asked = [
        Request((5, 6), 1),
        Request((7,), 1),
        Request((8, 9), 3),
        Request((5, 6, 7), 1),
        Request((1,), 1),
    ]
    assert served(engine(CACHES["paged"]), asked)[1] == alone(asked)


def test_a_comparison_of_all_rows_at_once_gets_the_pages_that_it_needs(engine):
    model, asked = engine(CACHES["few pages"]), requests(3)
    read = forced_logprobs(model, [each.tokens for each in asked], outputs=[[1], [2, 3], [4]])
    assert {piece.row for piece in read.pieces} == {0, 1, 2}


def test_a_pool_too_small_for_one_text_is_refused_before_anything_is_written(engine):
    model = engine(Paged(page_size=4, num_pages=5))
    with pytest.raises(UserError, match=r"needs 5 pages, 4 free: raise cache\.num_pages"):
        Continuous(model, [Request(tuple(range(8)), 2), Request(tuple(range(12)), 8)])


@pytest.fixture(scope="module")
def workload(engine):
    prompts = [
        Prompt(tokens=each.tokens, new_tokens=each.new_tokens)
        for each in requests(shared=SHARED[:9])
    ]
    made = Serving(
        engine(CACHES["paged"], shared_prefix=True), prompts, BYTES, faults=Faults(Fault())
    )
    made.warm_up(0, new_tokens=None)
    return made


class TestWorkload:
    def test_times_and_tokens_add_up(self, workload):
        call = workload.call(0)
        metrics = workload.measured([call, call])
        tokens = sum(each.new_tokens for each in requests())
        assert metrics["tokens_per_s"] == pytest.approx(tokens / call.timed.latency_s)
        assert 0 < metrics["ttft_s"] < metrics["latency_s"]
        assert 0 < metrics["tpot_s"] < metrics["latency_s"]
        assert workload.call_s(call) == call.timed.latency_s

    def test_the_answers_have_the_form_of_static_ones(self, workload):
        rows = workload.outputs(0, workload.call(0))
        assert [len(row["tokens"]) for row in rows] == [each.new_tokens for each in requests()]
        assert {row["finish_reason"] for row in rows} == {"length"}

    def test_what_the_cache_held_is_told(self, workload):
        call = workload.call(0)
        facts = workload.facts(0, call, workload.outputs(0, call))["cache"]
        assert 0 < facts["reserved_bytes"] <= facts["allocated_bytes"] == workload.kv_cache_bytes
        assert (facts["used_bytes"], facts["unused_share"]) == (
            None,
            None,
        )  # tokens that two texts have count twice
        assert (
            facts["saved_bytes"] == facts["shared_pages"] * 4 * 2 * 3 * 2 * 10 * 4
        )  # tokens, k and v, layers, heads
        assert (facts["rows"], facts["most_rows"], facts["hits"]) == (3, 3, 6)

    def test_a_row_of_a_fixed_cache_has_its_slots_whatever_its_text(self, engine):
        prompts = [Prompt(tokens=each.tokens, new_tokens=each.new_tokens) for each in requests(4)]
        shares = {}
        for name in ("fixed", "paged"):
            made = Serving(engine(CACHES[name]), prompts, BYTES, faults=Faults(Fault()))
            facts = made.call(0).cache
            assert facts["unused_share"] == pytest.approx(
                1 - facts["used_bytes"] / facts["reserved_bytes"]
            )
            shares[name] = facts["unused_share"]
        assert 0 < shares["paged"] < shares["fixed"] < 1

    def test_its_programs_can_be_looked_at(self, workload, ledger):
        mark = ledger.mark()
        names = [use.name for use in workload.programs(0) if use.lower() is not None]
        assert {name.split("_")[0] for name in names} == {"admit", "serve"}
        depths = [int(name.removeprefix("serve_")) for name in names if name.startswith("serve_")]
        assert names[-1] == f"serve_{max(depths)}"
        assert ledger.since(mark).events == 0

    def test_the_spec_finds_it(self, engine):
        model = copy.copy(engine(CACHES["paged"]))
        model.run = dataclasses.replace(
            model.run, prompts=Synthetic(count=2, length=4, new_tokens=2)
        )
        made = create.create(model, BYTES, faults=Faults(Fault()))
        assert type(made) is Serving
        assert [len(row["tokens"]) for row in made.outputs(0, made.call(0))] == [2, 2]


@pytest.mark.slow
def test_against_static_batches_speed_alone_is_compared(tmp_path):
    given = [
        "prompts.count=3",
        "workload.batching=continuous",
        "workload.batch_size=2",
        "baseline=same",
    ]
    plan = [
        "measure.blocks=1",
        "measure.trials=1",
        "baseline.overrides=['workload.batching=static']",
    ]
    code, result = execute_small(tmp_path, "cache=paged", *given, *plan)
    assert code is ExitCode.OK
    assert list(result["comparison"]) == ["tokens_per_s"]
    assert result["agreement"]["status"] == "identical"
    assert any("is compared: latency, ttft and tpot" in note for note in result["notes"])
    cache = result["arms"]["candidate"]["workload"]["cache"]
    assert (cache["texts"], cache["most_rows"], cache["kernel"]) == (3, 2, "blockwise")
