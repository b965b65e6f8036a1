"""`workload.depths`: decoding measured with so many tokens in the cache, a case for each depth."""

import re

import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.specs.cache import Fixed
from jaxgen.specs.fault import Fault
from jaxgen.specs.workload import Generate
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.prompts import Prompt, at_depth
from jaxgen.workloads.timing import METRICS
from support import small_models
from support.small_models import CACHES, NEW_TOKENS

DEPTHS = (0, 8, 32)
BYTES = Codec(None, vocab_size=97, random=True)
ASKED = [Prompt(tokens=tokens) for tokens in small_models.PROMPTS]


def generating(**changed):
    given = {"cache": Fixed(bucket=0), "batch_size": 2, "depths": DEPTHS}
    return Generating(
        small_models.engine(small_models.run(**(given | changed))),
        ASKED,
        BYTES,
        faults=Faults(Fault()),
    )


@pytest.fixture(scope="module")
def workload():
    return generating()


def test_each_depth_is_a_case_and_the_step_is_what_is_asked_about(workload):
    assert [case.params for case in workload.cases] == [{"depth": depth} for depth in DEPTHS]
    assert next(iter(workload.metrics)) == "tpot_s"
    assert workload.metrics.keys() == METRICS.keys()


def test_without_depths_there_is_one_case_without_parameters():
    workload = generating(depths=())
    assert [case.params for case in workload.cases] == [{}]
    assert next(iter(workload.metrics)) == "tokens_per_s"


@pytest.mark.parametrize(("case", "tokens"), [(0, 1), (1, 8), (2, 32)])
def test_decoding_starts_with_so_many_tokens_in_the_cache(workload, case, tokens):
    model, batch = workload._engine, workload._batches[case][0]
    cache, state = model.prefill(batch, model.empty_cache(batch))
    np.testing.assert_array_equal(cache.lengths, [tokens] * 2)
    np.testing.assert_array_equal(state.lengths, [tokens + 1] * 2)


def test_every_case_has_the_cache_of_the_deepest(workload):
    assert [workload._batches[case][0].capacity for case in range(3)] == [32 + NEW_TOKENS] * 3
    assert [
        [len(tokens) for tokens in workload.inputs()[first : first + 2]] for first in (0, 2, 4)
    ] == [
        [1, 1],
        [8, 8],
        [32, 32],
    ]


def test_the_answers_are_those_of_a_plain_run_with_such_prompts(workload):
    rows = workload.outputs(1, workload.call(1))
    prompts = [prompt.tokens for prompt in at_depth(ASKED, 8, rows=2)]
    plain = small_models.engine(small_models.run(cache=Fixed(bucket=0), batch_size=2))
    assert [row["prompt_tokens"] for row in rows] == [list(tokens) for tokens in prompts]
    assert [row["tokens"] for row in rows] == small_models.tokens(plain, prompts)
    assert {row["finish_reason"] for row in rows} == {"length"}


def test_a_warm_case_compiles_nothing_and_says_what_a_step_moves(workload, ledger):
    workload.warm_up(1, new_tokens=None)
    mark = ledger.mark()
    calls = [workload.call(1)]
    assert ledger.since(mark).events == 0
    assert workload.measured(calls)["tpot_s"] > 0
    moved = [workload.steps(case)["tpot_s"].nbytes for case in range(3)]
    assert moved == sorted(moved)


def test_rows_go_on_whatever_the_model_writes():
    assert Generate(depths=(4,)).ignores_eos
    assert not Generate().ignores_eos


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, [(1,), (4,), (2,)]),
        (4, [(1, 2, 3, 4), (4, 5, 1, 2), (2, 3, 4, 5)]),
        (7, [(1, 2, 3, 4, 5, 1, 2), (4, 5, 1, 2, 3, 4, 5), (2, 3, 4, 5, 1, 2, 3)]),
    ],
)
def test_prompts_are_repeated_to_the_depth_and_rows_differ(depth, expected):
    given = [Prompt(tokens=(1, 2, 3)), Prompt(tokens=(4, 5))]
    assert [prompt.tokens for prompt in at_depth(given, depth, rows=3)] == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"depths": (0, 60)},
            (
                "the 60 tokens of workload.depths=[0, 60] + workload.max_new_tokens=7 exceed the "
                "model's"
            ),
        ),
        (
            {"cache": Fixed(max_len=20)},
            "cache.max_len=20 cannot hold the 32 tokens of workload.depths=[0, 8, 32] + 7",
        ),
        ({"depths": (8, 0)}, "workload.depths=[8, 0] must be rising numbers of 0 or more"),
        ({"depths": (-1,)}, "workload.depths=[-1] must be rising numbers of 0 or more"),
        ({"max_new_tokens": 1}, "workload.depths needs workload.max_new_tokens=2 or more"),
        (
            {"token_buckets": (8,)},
            "workload.depths and workload.token_buckets cannot be given together",
        ),
    ],
)
def test_depths_that_cannot_be_measured_are_refused(changed, message):
    with pytest.raises(UserError, match=re.escape(message)):
        generating(**changed)


@pytest.mark.parametrize("cache", ["dynamic", "none"])
def test_other_caches_decode_at_a_depth_too(cache):
    deep = generating(cache=CACHES[cache], depths=(8,), max_new_tokens=3)
    fixed = generating(depths=(8,), max_new_tokens=3)
    assert [row["tokens"] for row in deep.outputs(0, deep.call(0))] == [
        row["tokens"] for row in fixed.outputs(0, fixed.call(0))
    ]
