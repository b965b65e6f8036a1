"""Whole generations: caches and loops agree, rows end where they should, batches are no matter."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxgen.specs.cache import Dynamic, Fixed, NoCache
from jaxgen.specs.workload import Loop
from support.small_models import (
    CACHES,
    FAMILIES,
    NEW_TOKENS,
    PROMPTS,
    answers,
    engine,
    run,
    tokens,
    with_loop,
)

STATIC = [name for name, spec in CACHES.items() if spec not in (Dynamic(), NoCache())]
ENDING_ROW, ENDING_STEP = 1, 3  # the row and the step whose token the tests declare to end a text


@pytest.fixture(scope="module")
def unending():
    """The new tokens where nothing ends a text."""
    return tokens(engine(run(cache=Fixed(bucket=0))))


@pytest.fixture(scope="module")
def eos(unending):
    """A token that ends one row early; other rows may or may not come by it."""
    return unending[ENDING_ROW][ENDING_STEP]


@pytest.fixture(scope="module")
def engines(eos):
    """One engine per cache kind, of a model that knows the ending token."""
    architecture = dataclasses.replace(FAMILIES["llama"], eos_token_ids=(eos,))
    return {
        name: engine(run(architecture=architecture, cache=spec)) for name, spec in CACHES.items()
    }


def ended(rows, eos):
    """What is left of endless rows: up to the ending token, itself included, and why they end."""
    cut = [row[: row.index(eos) + 1] if eos in row else row for row in rows]
    return [(row, "eos" if row[-1] == eos else "length") for row in cut]


@pytest.mark.parametrize("loop", Loop, ids=lambda loop: loop.value)
@pytest.mark.parametrize("name", CACHES)
def test_every_cache_and_loop_gives_the_same_tokens_and_ends_the_same_rows(
    engines, unending, eos, name, loop
):
    assert answers(with_loop(engines[name], loop)) == ended(unending, eos)


def test_one_row_ends_early_and_another_goes_on(unending, eos):
    """What the test above compares with has both kinds of row in it."""
    reasons = {reason for _, reason in ended(unending, eos)}
    assert reasons == {"eos", "length"}
    assert [len(row) for row in unending] == [NEW_TOKENS] * len(PROMPTS)


def test_ignore_eos_goes_on(engines, unending):
    model = engines["fixed_unsliced"]
    heedless = engine(
        dataclasses.replace(
            model.run, workload=dataclasses.replace(model.run.workload, ignore_eos=True)
        )
    )
    assert answers(heedless) == [(row, "length") for row in unending]


@pytest.mark.parametrize("loop", Loop, ids=lambda loop: loop.value)
@pytest.mark.parametrize("name", CACHES)
def test_the_second_call_traces_nothing(engines, ledger, name, loop):
    model = with_loop(engines[name], loop)
    answers(model)
    mark = ledger.mark()
    answers(model)
    assert ledger.since(mark).entries == ()


@pytest.mark.parametrize("loop", Loop, ids=lambda loop: loop.value)
@pytest.mark.parametrize("name", STATIC)
def test_fewer_new_tokens_run_the_same_programs(engines, unending, eos, ledger, name, loop):
    model = with_loop(engines[name], loop)
    answers(model)
    mark = ledger.mark()
    for count in (1, 2, NEW_TOKENS - 1):
        assert answers(model, new_tokens=count) == ended([row[:count] for row in unending], eos)
    assert ledger.since(mark).entries == ()


@pytest.mark.parametrize("name", ["fixed", "none_padded"])
def test_a_single_new_token_needs_no_decode(unending, name):
    model = engine(run(cache=CACHES[name], max_new_tokens=1))
    (batch,) = model.batches(PROMPTS)
    assert batch.segments == ()
    assert tokens(model) == [row[:1] for row in unending]


@pytest.mark.parametrize("name", ["fixed", "dynamic", "none"])
def test_the_host_loop_stops_when_every_row_has_ended(engines, name):
    model = with_loop(engines[name], Loop.host)
    (batch,) = model.batches([PROMPTS[ENDING_ROW]] * len(PROMPTS))
    seen, step = [], model.step_program

    def noted_step(*arguments):
        cache, state = step(*arguments)
        seen.append(np.asarray(state.lengths).tolist())
        return cache, state

    model.step_program = noted_step
    cache, state = model.prefill(batch, model.empty_cache(batch))
    model.decode(batch, cache, state)
    length = len(PROMPTS[ENDING_ROW])
    assert seen == [[length + taken] * len(PROMPTS) for taken in range(2, ENDING_STEP + 2)]


def test_a_batch_may_be_run_again(engines):
    model = engines["fixed"]
    (batch,) = model.batches(PROMPTS)
    states = []
    for _ in range(2):
        cache, state = model.prefill(batch, model.empty_cache(batch))
        states.append(model.decode(batch, cache, state)[1])
    np.testing.assert_array_equal(states[0].sequence, states[1].sequence)


@pytest.mark.parametrize("loop", Loop, ids=lambda loop: loop.value)
def test_nothing_goes_to_the_device_in_secret_once_the_batch_is_there(engines, loop):
    model = with_loop(engines["fixed"], loop)
    answers(model)
    (batch,) = model.batches(PROMPTS)
    cache = model.empty_cache(batch)
    with jax.transfer_guard_host_to_device("disallow"):
        cache, state = model.prefill(batch, cache)
        model.decode(batch, cache, state)


def test_the_batch_size_does_not_change_greedy_tokens(unending):
    """Batches of two rows and of one: a single row is written another way."""
    assert tokens(engine(run(cache=Fixed(bucket=0), batch_size=2))) == unending


DRAWING = {"temperature": 1.5, "top_k": 40, "seed": 11, "max_new_tokens": 3}


@pytest.fixture(scope="module")
def drawing():
    return engine(run(cache=Fixed(bucket=0), **DRAWING))


@pytest.mark.parametrize(
    ("cache", "changed"),
    [
        ("fixed", {}),
        ("fixed_unsliced", {"batch_size": 2}),
        ("dynamic", {}),
        ("none", {}),
        ("none_padded", {}),
    ],
    ids=str,
)
def test_a_seed_draws_the_same_tokens_whatever_the_cache_and_the_batch(drawing, cache, changed):
    assert tokens(engine(run(cache=CACHES[cache], **(DRAWING | changed)))) == tokens(drawing)


def test_a_seed_draws_the_same_tokens_in_both_loops(drawing):
    assert tokens(with_loop(drawing, Loop.host)) == tokens(with_loop(drawing, Loop.device))


def test_another_seed_draws_other_tokens_from_the_same_programs(drawing, ledger):
    before = tokens(drawing)
    other = with_loop(drawing, Loop.device)
    other.run = dataclasses.replace(
        other.run, workload=dataclasses.replace(other.run.workload, seed=12)
    )
    mark = ledger.mark()
    assert tokens(other) != before
    assert ledger.since(mark).entries == ()
