"""Buckets: every shape is compiled ahead, smaller ones are served by it, no output changes."""

import dataclasses
import functools
import re

import numpy as np
import pytest

from jaxgen.engine.batch import make_batch
from jaxgen.errors import UserError
from jaxgen.specs.cache import Fixed
from jaxgen.specs.fault import Fault
from jaxgen.specs.jit import Strategy
from jaxgen.specs.workload import Generate, Loop
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.prompts import Prompt
from support import small_models
from support.small_models import CACHES, FAMILIES

ONE_LAYER = dataclasses.replace(FAMILIES["llama"], num_layers=1)  # many shapes are compiled here
NEW_TOKENS = 4
BUCKETS = {"token_buckets": (4, 8), "batch_buckets": (1, 3), "batch_size": 3}
RAGGED = (
    ((7, 90, 33), (58, 3)),  # two rows in the bucket of three, three tokens in that of four
    ((7, 90, 33, 5, 61),),
    ((58, 3), (7, 90, 33, 41, 2, 9, 33)),
    (
        (3, 1, 4, 1, 5),
        (9,),
        (2, 6),
        (5, 3, 5, 8, 9, 7, 9, 3),
    ),  # a full batch, and one row of the next
)
BYTES = Codec(None, vocab_size=97, random=True)


def generating(model, prompts, fault=None):
    """A workload over prompts of bare token ids."""
    asked = [Prompt(tokens=tuple(tokens)) for tokens in prompts]
    return Generating(model, asked, BYTES, faults=Faults(fault or Fault()))


def written(workload):
    """The tokens of one call, row by row."""
    return [row["tokens"] for row in workload.outputs(0, workload.call(0))]


def fresh(**changed):
    """A model that has compiled nothing yet."""
    settings = {"architecture": ONE_LAYER, "batch_size": 3, "max_new_tokens": NEW_TOKENS}
    return small_models.engine(small_models.run(**(settings | changed)))


@functools.cache  # what others are compared with; compiles are counted in fresh models alone
def plain(**changed):
    return fresh(**changed)


def bucketed(**changed):
    return fresh(**(BUCKETS | changed))


def ending_at(token):
    """A model for which `token` ends a row."""
    return dataclasses.replace(ONE_LAYER, eos_token_ids=(token,))


SERVED = [("fixed", Loop.device), ("none", Loop.host)]
TABLE = [("fixed", Strategy.aot, Loop.device)]


@pytest.mark.parametrize(
    ("cache", "jit", "loop"), TABLE, ids=lambda value: getattr(value, "name", value)
)
def test_any_shape_within_the_buckets_is_served_without_a_compile(cache, jit, loop, ledger):
    model = bucketed(cache=CACHES[cache], loop=loop, jit=jit)
    generating(model, RAGGED[0]).warm_up(0, new_tokens=None)
    mark = ledger.mark()
    answers = [written(generating(model, prompts)) for prompts in RAGGED]
    assert ledger.since(mark).functions == {}
    assert ledger.since(mark).events == 0
    without = plain(cache=CACHES[cache], loop=loop)
    assert answers[2] == small_models.tokens(without, RAGGED[2])
    assert [len(rows) for rows in answers] == [len(prompts) for prompts in RAGGED]


@pytest.mark.parametrize(("cache", "loop"), SERVED, ids=lambda value: getattr(value, "name", value))
def test_prompts_that_end_later_than_the_dummies_find_every_step_compiled(cache, loop, ledger):
    model = plain()
    (of_zeros,) = small_models.tokens(model, [[0] * 4])
    rows = small_models.tokens(model, RAGGED[0])
    assert not any(of_zeros[0] in row for row in rows)  # else this asks nothing
    given = {"cache": CACHES[cache], "loop": loop, "architecture": ending_at(of_zeros[0])}
    workload = generating(bucketed(token_buckets=(4,), batch_buckets=(3,), **given), RAGGED[0])
    workload.warm_up(0, new_tokens=None)
    mark = ledger.mark()
    assert written(workload) == rows
    assert ledger.since(mark).events == 0


def test_rows_that_end_early_end_in_a_bucket_too():
    rows = small_models.tokens(plain(), RAGGED[0])
    given = {"architecture": ending_at(rows[0][1])}
    expected = small_models.answers(plain(**given), RAGGED[0])
    workload = generating(bucketed(**given), RAGGED[0])
    given_rows = workload.outputs(0, workload.call(0))
    assert [(row["tokens"], row["finish_reason"]) for row in given_rows] == expected
    assert {reason for _, reason in expected} == {"eos", "length"}


def test_rows_that_only_fill_a_batch_are_done_from_the_start_and_in_no_output():
    model = bucketed()
    (batch,) = model.batches(RAGGED[0])
    np.testing.assert_array_equal(batch.state.done, [False, False, True])
    assert (batch.rows, batch.prompt.shape, batch.longest) == (3, (3, 4), 4)
    _, state = model.decode(batch, *model.prefill(batch, model.empty_cache(batch)))
    np.testing.assert_array_equal(state.sequence[2], 0)
    assert int(state.lengths[2]) == 1
    workload = generating(model, RAGGED[0])
    (timed,) = workload.call(0)
    assert len(workload.outputs(0, [timed])) == 2
    assert [len(tokens) for tokens, _ in timed.outputs] == [NEW_TOKENS] * 2


def test_sampled_rows_draw_the_same_tokens_in_a_bucket():
    given = {"temperature": 1.0, "seed": 3}
    assert written(generating(bucketed(**given), RAGGED[3])) == small_models.tokens(
        plain(**given), RAGGED[3]
    )


def test_batch_buckets_alone_are_compiled_ahead_at_the_prompts_own_widths(ledger):
    model = bucketed(token_buckets=())
    generating(model, RAGGED[0]).warm_up(0, new_tokens=None)
    mark = ledger.mark()
    for count in (1, 2, 3):
        generating(model, [RAGGED[0][0]] * count).call(0)
    assert ledger.since(mark).events == 0


def test_a_short_warm_up_stays_short_in_buckets(ledger):
    model = bucketed(cache=CACHES["none"], token_buckets=(4,), batch_buckets=(3,))
    workload = generating(model, RAGGED[0])
    workload.warm_up(0, new_tokens=2)
    mark = ledger.mark()
    workload.call(0)
    assert ledger.since(mark).functions == {"step": NEW_TOKENS - 2}


def test_making_a_batch_compiles_nothing(ledger):
    mark = ledger.mark()
    for rows in (1, 3, 5):
        make_batch(
            [[1, 2]] * rows, first_row=rows, capacity=17, new_tokens=3, cache=Fixed(), seed=rows
        )
    assert ledger.since(mark).events == 0


@pytest.mark.parametrize(
    ("prompts", "changed", "message"),
    [
        (
            [[1] * 9],
            {},
            (
                "a prompt of 9 tokens does not fit the largest of workload.token_buckets=[4, 8]; "
                "add 9 or more"
            ),
        ),
        (
            [[1]],
            {"token_buckets": (4, 62)},
            (
                "the 62 tokens of workload.token_buckets=[4, 62] + workload.max_new_tokens=4 "
                "exceed the model's "
                "context of 64; leave its last number out or lower workload.max_new_tokens to "
                "2 or less"
            ),
        ),
        (
            [[1]],
            {"cache": Fixed(max_len=9)},
            (
                "cache.max_len=9 cannot hold the 8 tokens of workload.token_buckets=[4, 8] + 4 new "
                "ones; raise it to 12"
            ),
        ),
    ],
    ids=["prompt", "context", "cache"],
)
def test_what_no_bucket_holds_is_refused_by_key_and_value(prompts, changed, message):
    with pytest.raises(UserError, match=re.escape(message)):
        generating(bucketed(**changed), prompts)


def test_a_batch_beyond_the_largest_bucket_is_refused():
    with pytest.raises(
        UserError,
        match=re.escape("workload.batch_size=5 is more than the largest of workload.batch_"),
    ):
        Generate(batch_size=5, batch_buckets=(1, 4))
    with pytest.raises(
        UserError,
        match=re.escape("a batch of 3 rows does not fit the largest of workload.batch_bucke"),
    ):
        make_batch(
            [[1]] * 3,
            first_row=0,
            capacity=9,
            new_tokens=3,
            cache=Fixed(),
            seed=0,
            batch_buckets=(1, 2),
        )


@pytest.mark.parametrize("values", [(4, 2), (2, 2), (0, 1)])
@pytest.mark.parametrize("key", ["token_buckets", "batch_buckets"])
def test_buckets_rise(key, values):
    with pytest.raises(
        UserError,
        match=re.escape(f"workload.{key}={list(values)} must be rising numbers of 1 or more"),
    ):
        Generate(**{"batch_size": 1, key: values})


def test_the_whole_context_may_be_a_bucket():
    prompt = [(3 * token) % 97 for token in range(64 - NEW_TOKENS)]
    model = bucketed(token_buckets=(len(prompt),), batch_buckets=())
    assert written(generating(model, [prompt])) == small_models.tokens(plain(), [prompt])
