"""The fixed cache is written in place: what compiled decode programs alias, copy and need."""

import re

import jax
import jax.numpy as jnp
import pytest

from jaxgen.caches.buffers import NHD
from jaxgen.engine import programs
from jaxgen.engine.binders import bind
from jaxgen.specs.cache import Fixed, KVLayout, Paged
from jaxgen.specs.jit import Strategy
from support.small_models import DEEP_FAMILIES, PROMPTS, engine, run

MAX_LEN = 56  # no other axis, nor product of axes, is as long
# The other tests compile with an older emitter, which is quick; here the compiled text is the
# claim, so that it must be what users get. From jax 0.11 on there is one emitter and no option.
IS_JAX_0_10 = jax.__version_info__[:2] == (0, 10)
AS_A_USER = {"xla_cpu_use_fusion_emitters": True} if IS_JAX_0_10 else {}
DEPTHS = {"sliced": 8, "whole": MAX_LEN}
PROGRAMS = {"step": programs.step, "loop": programs.loop}
BATCHES = {
    "one_row": (PROMPTS[:1], KVLayout.NHD),
    "ragged": (PROMPTS, KVLayout.NHD),
    "ragged_by_head": (PROMPTS, KVLayout.HND),
}


@pytest.fixture(
    scope="module",
    params=[(program, batch) for program in PROGRAMS for batch in BATCHES],
    ids="-".join,
)
def compiled(request):
    """Per depth, one program's empty cache and executable."""
    program, (prompts, layout) = PROGRAMS[request.param[0]], BATCHES[request.param[1]]
    model = engine(
        run(
            architecture=DEEP_FAMILIES["llama"],
            cache=Fixed(max_len=MAX_LEN, bucket=8, layout=layout),
        )
    )
    (batch,) = model.batches(prompts)
    steps = (jnp.int32(3),) if program is programs.loop else ()
    bound = bind(Strategy.closure, program, model.blueprint, leaves=model.leaves, donate=True)
    made = {}
    for name, depth in DEPTHS.items():
        cache = model.empty_cache(batch).with_depth(depth)
        made[name] = cache, bound.lower(model.leaves, cache, batch.state, *steps).compile(AS_A_USER)
    return made


def arrays_of(cache):
    """The keys and values of all layers."""
    return jax.tree.leaves((cache.keys, cache.values))


def cache_shaped(text, opcode, shape):
    """The instructions that make an array with the axes of one layer's keys, in any order."""
    made = re.findall(rf"= \w+\[([\d,]+)\]\S* {opcode}\(", text)
    return [dims for dims in made if sorted(map(int, dims.split(","))) == sorted(shape)]


@pytest.mark.parametrize("depth", DEPTHS)
def test_keys_values_and_lengths_are_all_aliased(compiled, depth):
    cache, executable = compiled[depth]
    whole_cache = sum(leaf.nbytes for leaf in jax.tree.leaves(cache))
    assert whole_cache == sum(leaf.nbytes for leaf in (*arrays_of(cache), cache.lengths))
    assert executable.memory_analysis().alias_size_in_bytes == whole_cache


@pytest.mark.parametrize("opcode", ["copy", "transpose"])
def test_no_layer_is_copied_where_attention_reads_a_slice(compiled, opcode):
    cache, executable = compiled["sliced"]
    assert not cache_shaped(executable.as_text(), opcode, arrays_of(cache)[0].shape)


def test_the_search_for_copies_finds_those_of_a_cache_read_whole(compiled):
    """Not a virtue: slots first, XLA:CPU copies there. It shows that the test above can fail."""
    cache, executable = compiled["whole"]
    made = cache_shaped(executable.as_text(), "copy", arrays_of(cache)[0].shape)
    assert bool(made) == isinstance(cache.keys[0], NHD)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_step_needs_less_than_a_second_cache(compiled, depth):
    cache, executable = compiled[depth]
    keys_and_values = sum(leaf.nbytes for leaf in arrays_of(cache))
    assert executable.memory_analysis().temp_size_in_bytes < keys_and_values


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_pools_and_tables_of_pages_are_all_aliased(program):
    model = engine(
        run(architecture=DEEP_FAMILIES["llama"], cache=Paged(page_size=4, num_pages=40, bucket=8))
    )
    (batch,) = model.batches(PROMPTS)
    steps = (jnp.int32(3),) if program is programs.loop else ()
    cache = model.empty_cache(batch).with_depth(8)
    bound = bind(Strategy.closure, program, model.blueprint, leaves=model.leaves, donate=True)
    needs = (
        bound.lower(model.leaves, cache, batch.state, *steps).compile(AS_A_USER).memory_analysis()
    )
    assert needs.alias_size_in_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(cache))
    assert needs.temp_size_in_bytes < sum(leaf.nbytes for leaf in jax.tree.leaves(cache.pools))


def test_a_donated_cache_is_gone():
    model = engine(run(cache=Fixed(bucket=0)))
    (batch,) = model.batches(PROMPTS)
    cache = model.empty_cache(batch)
    model.prefill(batch, cache)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(cache))
