"""`cache.regions=2`: what a step writes and where; nothing else can tell it from one region."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import caches
from jaxgen.engine import programs
from jaxgen.engine.binders import bind
from jaxgen.engine.program_use import generation_uses
from jaxgen.engine.scoring.request import ScoreRequest
from jaxgen.engine.scoring.scorer import Scorer
from jaxgen.errors import UserError
from jaxgen.measure import byte_counts, roofline
from jaxgen.specs.cache import Fixed, step_depth
from jaxgen.specs.jit import Strategy
from jaxgen.workloads import cost
from support.small_models import DEEP_FAMILIES, FAMILIES, PROMPTS, engine, run, tokens

LLAMA, DEEP_LLAMA = FAMILIES["llama"], DEEP_FAMILIES["llama"]
REGIONS = Fixed(bucket=8, regions=2)


def before_a_step(cache, **changed):
    """Return an engine, its batch, and the shapes of its cache as the first step gets it."""
    model = engine(run(cache=cache, **changed))
    (batch,) = model.batches(PROMPTS)
    shapes = generation_uses(model, batch)[1].cache
    return model, batch, shapes


def cache_writes(cache):
    """Count a step's updates of slices of its (3, 2, S, 10) buffers, and its scatters into one."""
    model, batch, shapes = before_a_step(cache, architecture=DEEP_LLAMA)
    step = functools.partial(programs.step, model.blueprint)
    text = str(jax.make_jaxpr(step)(model.leaves, shapes, batch.state))
    return tuple(
        len(re.findall(rf":f32\[3,2,\d+,10\] = {name}\b", text))
        for name in ("dynamic_update_slice", "scatter")
    )


def test_a_step_writes_one_slice_a_buffer_where_one_region_scatters():
    assert cache_writes(REGIONS) == (2 * DEEP_LLAMA.num_layers, 0)
    assert cache_writes(Fixed(bucket=8)) == (0, 2 * DEEP_LLAMA.num_layers)


@pytest.mark.parametrize("program", [programs.step, programs.loop], ids=["step", "loop"])
def test_both_regions_are_aliased_whole(program):
    model, batch, shapes = before_a_step(REGIONS)
    steps = (jnp.int32(3),) if program is programs.loop else ()
    bound = bind(Strategy.closure, program, model.blueprint, leaves=model.leaves, donate=True)
    needs = bound.lower(model.leaves, shapes, batch.state, *steps).compile().memory_analysis()
    assert needs.alias_size_in_bytes == sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes)
    )


def test_the_programs_that_are_examined_are_those_that_run():
    model, batch, shapes = before_a_step(REGIONS, architecture=LLAMA)
    cache, _ = model.prefill(batch, model.empty_cache(batch))
    as_it_is = cache.with_depth(batch.segments[0].depth)
    assert jax.tree.structure(shapes) == jax.tree.structure(as_it_is)
    assert [leaf.shape for leaf in jax.tree.leaves(shapes)] == [
        leaf.shape for leaf in jax.tree.leaves(as_it_is)
    ]


@functools.cache
def of_one_region():
    return tokens(engine(run(cache=Fixed(bucket=8), architecture=LLAMA, max_new_tokens=4)))


@pytest.mark.parametrize("strategy", [Strategy.aot, Strategy.partial], ids=lambda each: each.value)
def test_strategies_give_the_tokens_of_one_region(strategy):
    two = engine(run(cache=REGIONS, jit=strategy, architecture=LLAMA, max_new_tokens=4))
    assert tokens(two) == of_one_region()


def test_prompts_of_one_token_are_no_step():
    given = {"architecture": LLAMA, "token_buckets": (1,)}
    one, two = (engine(run(cache=cache, **given)) for cache in (Fixed(bucket=8), REGIONS))
    assert tokens(two, [(5,), (9,)]) == tokens(one, [(5,), (9,)])


def test_scores_continue_from_a_query_in_the_first_region():
    model = engine(run(cache=REGIONS, architecture=LLAMA))
    request = ScoreRequest(
        query=(41, 7, 90), rows=((41, 7, 90, 3), (41, 7, 90, 64, 2)), labels=(0, 96)
    )
    found = []
    for reused in (True, False):
        scorer = Scorer(model, prefix_cache=reused)
        prepared = scorer.prepare(request)
        assert prepared.reuse.hits == 2 * reused
        found.append(scorer.results(prepared, scorer.call(prepared)))
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-6)


def test_a_row_that_pauses_keeps_no_slot_of_the_steps_it_missed():
    cache = caches.create(REGIONS, LLAMA, batch=2, capacity=8, dtype=jnp.dtype("float32"), prompt=4)
    cache = cache.advance(jnp.array([2, 3])).with_depth(4 + 3)
    for counts in ([1, 1], [0, 1], [1, 1]):
        cache = cache.advance(jnp.array(counts))
    np.testing.assert_array_equal(
        cache.layer_kv(0)[2], [[0, 1, -1, -1, 2, -1, 3], [0, 1, 2, -1, 3, 4, 5]]
    )
    np.testing.assert_array_equal(cache.positions(1), [[4], [6]])
    with pytest.raises(ValueError, match="takes one token a row, not 2"):
        cache.attend(0, *[jnp.zeros((2, 2, heads, 10)) for heads in (4, 2, 2)])


@pytest.mark.parametrize(("bucket", "depths"), [(8, [24, 24, 32, 48]), (0, [58] * 4)])
def test_a_step_reads_the_prompts_and_the_steps_so_far(bucket, depths):
    spec, shape = Fixed(bucket=bucket, regions=2), {"width": 16, "longest": 9, "capacity": 42}
    assert [step_depth(spec, taken=taken, **shape) for taken in (1, 8, 9, 32)] == depths


def test_the_cost_is_that_of_the_slots_in_both_regions():
    model = engine(run(architecture=DEEP_LLAMA, cache=Fixed(bucket=0, regions=2)))
    (batch,) = model.batches(PROMPTS)
    slots = 10 + 16
    per_slot = len(PROMPTS) * 2 * 3 * 2 * 10 * 4
    assert cost.kv_cache_bytes(model, batch) == slots * per_slot
    one = roofline.forward(
        DEEP_LLAMA, byte_counts.ElementBytes(4, 4), rows=3, tokens=1, depth=slots, kept=True
    )
    assert cost.last_step(model, batch) == one


@pytest.mark.parametrize("regions", [0, 3])
def test_there_are_one_or_two(regions):
    with pytest.raises(
        UserError, match=rf"cache\.regions={regions} is impossible: it must be 1 .* or 2 "
    ):
        Fixed(regions=regions)
