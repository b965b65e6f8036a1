"""The jit strategies: one answer from all of them, and what each compiles, keeps and forgets."""

import jax
import pytest

from jaxgen.specs.cache import Fixed
from jaxgen.specs.jit import Strategy
from jaxgen.specs.workload import Loop
from support.small_models import PROMPTS, engine, run, tokens, with_loop

CACHE = Fixed(bucket=0)
NEW_TOKENS = 4
KEPT = [strategy for strategy in Strategy if strategy not in (Strategy.partial, Strategy.eager)]
CAPTURES = "ignore:A large amount of constants were captured:UserWarning"  # what `captured` is for


@pytest.fixture(scope="module")
def engines():
    """One engine per strategy; most keep what they compiled, and share it between tests."""
    return {
        strategy: engine(run(cache=CACHE, jit=strategy, max_new_tokens=NEW_TOKENS))
        for strategy in Strategy
    }


@pytest.fixture(scope="module")
def expected(engines):
    return tokens(engines[Strategy.closure])


def ids(value):
    return value.value


@pytest.mark.filterwarnings(CAPTURES)
@pytest.mark.parametrize(
    "strategy", [strategy for strategy in Strategy if strategy.value != "eager"], ids=ids
)
def test_every_strategy_gives_the_same_tokens(engines, expected, strategy):
    assert tokens(engines[strategy]) == expected


@pytest.mark.filterwarnings(CAPTURES)
@pytest.mark.parametrize("loop", Loop, ids=ids)
@pytest.mark.parametrize("strategy", KEPT, ids=ids)
def test_the_second_call_traces_nothing(engines, ledger, strategy, loop):
    model = with_loop(engines[strategy], loop)
    tokens(model)
    mark = ledger.mark()
    tokens(model)
    assert ledger.since(mark).entries == ()


def test_partial_compiles_prefill_and_loop_again_at_every_call(engines, ledger):
    tokens(engines[Strategy.partial])
    mark = ledger.mark()
    tokens(engines[Strategy.partial])
    assert ledger.since(mark).functions == {"prefill": 1, "loop": 1}


@pytest.mark.parametrize("strategy", [Strategy.closure, Strategy.aot], ids=ids)
def test_the_ledger_names_each_program_once(ledger, strategy):
    model = engine(run(cache=CACHE, jit=strategy, max_new_tokens=NEW_TOKENS))
    (batch,) = model.batches(PROMPTS)
    empty = model.empty_cache(batch)
    mark = ledger.mark()
    cache, state = model.prefill(batch, empty)
    model.decode(batch, cache, state)
    assert ledger.since(mark).functions == {"prefill": 1, "loop": 1}


def test_eager_gives_the_same_tokens_and_compiles_no_program(engines, expected, ledger):
    few = 2
    assert tokens(engines[Strategy.eager], new_tokens=few) == [row[:few] for row in expected]
    assert not {"prefill", "step", "loop"} & ledger.since(0).functions.keys()


def test_captured_alone_carries_the_weights_in_its_program():
    """The strict settings warn of it; every other strategy runs under them without a warning."""
    model = engine(run(cache=CACHE, jit=Strategy.captured, max_new_tokens=1))
    with pytest.warns(UserWarning, match="constants were captured"):
        tokens(model)


@pytest.mark.filterwarnings(CAPTURES)
@pytest.mark.parametrize("strategy", KEPT, ids=ids)
def test_new_weights_are_used_by_all_but_captured(engines, expected, strategy):
    model = with_loop(engines[strategy], Loop.device)  # a copy: the fixture keeps its weights
    tokens(model)
    model.leaves = tuple(-leaf for leaf in model.leaves)
    assert (tokens(model) == expected) == (strategy is Strategy.captured)


def test_place_moves_every_weight_and_changes_none(engines, expected):
    model = with_loop(engines[Strategy.closure], Loop.device)
    before = model.leaves
    model.move_to_new_buffers()
    for old, new in zip(before, model.leaves, strict=True):
        assert old.unsafe_buffer_pointer() != new.unsafe_buffer_pointer()
        assert bool((old == new).all())
    assert tokens(model) == expected


@pytest.mark.filterwarnings(CAPTURES)
@pytest.mark.parametrize("strategy", KEPT, ids=ids)
def test_nothing_compiles_after_the_second_placement(engines, ledger, strategy):
    model = with_loop(engines[strategy], Loop.device)
    model.move_to_new_buffers()
    tokens(model)
    mark = ledger.mark()
    model.move_to_new_buffers()
    tokens(model)
    assert ledger.since(mark).entries == ()


def test_a_placement_frees_the_old_buffers():
    model = engine(run(cache=CACHE, max_new_tokens=1))
    model.leaves = tuple(leaf + 0 for leaf in model.leaves)  # buffers that no fixture holds
    jax.block_until_ready(model.leaves)
    held = len(jax.live_arrays())
    model.move_to_new_buffers()
    assert len(jax.live_arrays()) == held
