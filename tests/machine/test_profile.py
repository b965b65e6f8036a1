"""Profiles: the operations of a decode, by name and time; wrappers around them left out."""

import jax
import jax.numpy as jnp
import pytest

from jaxgen.engine.hlo.inspection import meanings
from jaxgen.engine.program_use import generation_uses
from jaxgen.machine.profile import TOP, Event, innermost, rank, record
from jaxgen.specs.cache import Fixed
from support.small_models import PROMPTS, engine, run

NEW_TOKENS = 5


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    """One warm decode with a fixed cache."""
    model = engine(run(cache=Fixed(bucket=0), max_new_tokens=NEW_TOKENS))
    (batch,) = model.batches(PROMPTS)

    def call():
        cache, state = model.prefill(batch, model.empty_cache(batch))
        jax.block_until_ready(model.decode(batch, cache, state))

    call()
    folder = tmp_path_factory.mktemp("profile")
    return folder, record(call, folder, meanings=meanings(generation_uses(model, batch)))


def test_the_operations_of_the_decode_loop_are_found(profiled):
    _, told = profiled
    assert told["reason"] is None
    assert len(told["operations"]) == TOP
    steps = NEW_TOKENS - 1
    loops = [each for each in told["operations"] if each["program"] == "loop"]
    assert loops
    assert all(each["count"] % steps == 0 for each in loops)


def test_most_operations_are_traced_back_to_the_model(profiled):
    _, told = profiled
    assert [each["meaning"] for each in told["operations"]].count(None) < TOP / 2


def test_shares_are_of_all_operations_and_fall(profiled):
    _, told = profiled
    shares = [each["share"] for each in told["operations"]]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) < 1
    longest = told["operations"][0]
    assert longest["total_s"] == pytest.approx(longest["share"] * told["operations_s"])


def test_no_loop_and_no_python_is_among_them(profiled):
    _, told = profiled
    assert not [
        each["name"]
        for each in told["operations"]
        if each["name"].startswith(("while", "call", "$"))
    ]


def test_the_trace_is_kept_below_the_folder(profiled):
    folder, told = profiled
    assert (folder / told["trace"]).is_file()


def test_a_call_that_runs_nothing_says_so(tmp_path):
    told = record(lambda: None, tmp_path)
    assert (told["operations"], told["operations_s"]) == ([], None)
    assert told["reason"]


def test_a_second_trace_in_the_same_folder_is_told_apart(tmp_path):
    double = jax.jit(lambda x: x @ x)
    one = jnp.ones((64, 64))
    jax.block_until_ready(double(one))
    first = record(lambda: jax.block_until_ready(double(one)), tmp_path / "first")
    second = record(lambda: None, tmp_path / "first")
    assert first["operations"]
    assert not second["operations"]


def event(name, start, end):
    return Event("loop", name, float(start), float(end - start))


def test_what_contains_others_is_no_operation_of_its_own():
    line = [
        event("while", 0, 100),
        event("call", 10, 50),
        event("dot", 12, 30),
        event("add", 30, 50),
        event("dot", 60, 99),
        event("copy", 100, 120),
    ]
    assert [each.name for each in innermost(line)] == ["dot", "add", "dot", "copy"]


def test_operations_rank_by_their_time_in_all():
    told = rank(
        [event("add", 0, 30), event("dot", 40, 60), event("dot", 70, 120)], {"loop/dot": "head"}
    )
    assert [(each["name"], each["count"], each["share"]) for each in told] == [
        ("dot", 2, 0.7),
        ("add", 1, 0.3),
    ]
    assert [each["meaning"] for each in told] == ["head", None]
    assert told[0]["total_s"] == pytest.approx(70e-9)
