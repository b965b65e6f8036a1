"""A model on two and on four devices gives what it gives on one: tokens and scores."""

import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxgen.engine.continuous import Continuous, Request
from jaxgen.engine.continuous_call import Call
from jaxgen.engine.hlo.inspection import examine
from jaxgen.engine.next_token import next_logprobs
from jaxgen.engine.program_use import generation_uses
from jaxgen.engine.scoring.likelihood import LikelihoodScorer
from jaxgen.engine.scoring.score import score
from jaxgen.engine.scoring.scorer import Scorer
from jaxgen.errors import UserError
from jaxgen.models.sharding import device_bytes, layout_of
from jaxgen.specs.dtype import Dtype, Number
from jaxgen.specs.jit import Strategy
from jaxgen.specs.mesh import Mesh, OneDevice
from jaxgen.specs.workload import Batching, Capture, Loop
from support.small_models import CACHES, FAMILIES, engine, run, tokens, weights

ONE = OneDevice()
BY_HEADS, BY_ROWS, BY_BOTH = Mesh(tensor=2), Mesh(data=2), Mesh(data=2, tensor=2)
FEW_KV_HEADS = Mesh(tensor=4)  # the grouped families have two
PROMPTS = ((41,), (7, 90, 33), (58, 3), (11, 12))
SIX_PLACES = 1e-6  # of a probability in float32: sums over parts come in another order

FLOAT32, INT8 = Dtype(), Dtype(weights=Number.int8, kv=Number.int8)
INT8_APART = 0.1  # a sum in another order may round a key to the next of its 255 steps

# Vocabularies that come out even; gpt2's does not, like the true one of 50257, and its table is cut
# the other way.
EVEN = {
    name: dataclasses.replace(each, vocab_size=100)
    for name, each in FAMILIES.items()
    if name != "gpt2"
}
MODELS = {"gpt2": FAMILIES["gpt2"], **EVEN, "mistral": dataclasses.replace(EVEN["llama"], window=5)}
LLAMA = MODELS["llama"]


@functools.cache  # compiled programs and all: one reference for all meshes
def model(
    name="llama",
    *,
    cache="fixed_unsliced",
    mesh=ONE,
    jit=Strategy.closure,
    dtype=FLOAT32,
    num_layers=1,
    **work,
):
    work = {"batch_size": 4, "max_new_tokens": 4, "ignore_eos": True} | work
    architecture = dataclasses.replace(MODELS[name], num_layers=num_layers)
    return engine(
        run(architecture=architecture, cache=CACHES[cache], mesh=mesh, jit=jit, dtype=dtype, **work)
    )


@functools.cache
def written(name="llama", **given):
    return tokens(model(name, **given), PROMPTS)


class Ids:
    """Reads ids alone."""

    def encode(self, text, *, special=True):
        raise NotImplementedError


def scores(of, *, apply_softmax=False, query=(3, 1, 4), items=((9,), (2, 6), (5,))):
    scorer = Scorer(of, batch_size=4)
    labels = [5, 3, 96]
    return score(
        scorer, Ids(), query=query, items=items, label_token_ids=labels, apply_softmax=apply_softmax
    )


EVERY_WAY = [("gpt2", BY_BOTH), ("llama", BY_BOTH), ("llama", FEW_KV_HEADS)]
"""A table that is cut the other way, and shared heads, fewer than the devices of one mesh."""


@pytest.mark.parametrize(
    ("name", "mesh"),
    [*((name, BY_BOTH) for name in MODELS), ("gpt2", BY_HEADS), ("qwen3", FEW_KV_HEADS)],
    ids=str,
)
def test_every_family_writes_the_same_tokens(name, mesh):
    assert written(name, mesh=mesh) == written(name)


@pytest.mark.parametrize("cache", ["fixed", "regions", "paged", "dynamic", "none"])
def test_every_cache_writes_the_same_tokens(cache):
    # Three layers: what goes from one to the next is spread too, and each has a cache of its own.
    deep = {"num_layers": 3, "max_new_tokens": 2}
    assert written(cache=cache, mesh=BY_BOTH, **deep) == written(**deep)


@pytest.mark.parametrize(("name", "mesh"), EVERY_WAY, ids=str)
def test_scores_agree_to_six_places(name, mesh):
    for among_labels in (False, True):
        labels = {"apply_softmax": among_labels}
        one, other = scores(model(name), **labels), scores(model(name, mesh=mesh), **labels)
        np.testing.assert_allclose(other, one, rtol=0, atol=SIX_PLACES)


@pytest.mark.parametrize(("name", "mesh"), EVERY_WAY, ids=str)
def test_int8_weights_and_caches_are_spread_like_any_other(name, mesh):
    # Three layers: of one alone, the norms and tables that every device holds whole are too large
    # a part.
    one, many = (model(name, mesh=each, dtype=INT8, num_layers=3) for each in (ONE, mesh))
    np.testing.assert_allclose(
        next_logprobs(many, PROMPTS[1]), next_logprobs(one, PROMPTS[1]), rtol=0, atol=INT8_APART
    )
    assert device_bytes(many.leaves) < 0.7 * device_bytes(one.leaves)


def test_log_likelihoods_agree_to_six_places():
    pairs = [([3, 1], [4, 1, 5]), ([2], [7])]
    one, other = (
        LikelihoodScorer(model(mesh=mesh), Ids()).loglikelihoods(pairs) for mesh in (ONE, BY_BOTH)
    )
    assert [each.is_greedy for each in other] == [each.is_greedy for each in one]
    np.testing.assert_allclose(
        [each.logprob for each in other], [each.logprob for each in one], rtol=0, atol=1e-5
    )


def served(cache, *, mesh, shared_prefix=False):
    work = {"batching": Batching.continuous, "shared_prefix": shared_prefix, "batch_size": 2}
    requests = [Request((7, 90, 33, 4, number), 3) for number in range(3)]
    call = Call(
        Continuous(model(cache=cache, mesh=mesh, **work), requests),
        clock=itertools.count().__next__,
    )
    call.run()
    return [text.tokens for text in call.served], call.manager.facts()


@pytest.mark.parametrize(("cache", "shared_prefix"), [("fixed_unsliced", False), ("paged", True)])
def test_continuous_batches_write_the_same_tokens(cache, shared_prefix):
    assert served(cache, mesh=BY_HEADS, shared_prefix=shared_prefix) == served(
        cache, mesh=ONE, shared_prefix=shared_prefix
    )


@pytest.mark.parametrize(
    "given", [{"loop": Loop.host}, {"jit": Strategy.aot}, {"jit": Strategy.partial}], ids=str
)
def test_every_way_to_call_a_program_writes_the_same_tokens(given):
    assert written(mesh=BY_BOTH, **given) == written()


def test_what_is_captured_is_the_same():
    found = []
    for mesh in (ONE, BY_BOTH):
        of = model(mesh=mesh, num_layers=3, capture=Capture(layers=(0, 2)))
        (batch,) = of.batches(PROMPTS)
        _, state = of.decode(batch, *of.prefill(batch, of.empty_cache(batch)))
        found.append(np.asarray(state.captured.values[0]))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-4)


def test_rows_that_do_not_come_out_even_are_filled_up():
    of = model(mesh=BY_ROWS, batch_size=2)
    assert [batch.rows for batch in of.batches(PROMPTS[:3])] == [2, 2]
    assert tokens(of, PROMPTS[:3]) == written()[:3]


@pytest.fixture(scope="module")
def spread():
    """A model on four devices after a call, with its batch."""
    of = model(mesh=BY_BOTH)
    written(mesh=BY_BOTH)
    (batch,) = of.batches(PROMPTS)
    return of, batch


def test_a_second_call_compiles_nothing_wherever_the_weights_lie(spread, ledger):
    of, _ = spread
    before = [leaf.sharding for leaf in of.leaves]
    of.move_to_new_buffers()
    tokens(of, PROMPTS)
    mark = ledger.mark()
    of.move_to_new_buffers()
    tokens(of, PROMPTS)
    assert ledger.since(mark).events == 0
    assert [leaf.sharding for leaf in of.leaves] == before


def test_each_device_has_its_part_and_writes_it_in_place(spread):
    of, batch = spread
    cache = of.empty_cache(batch)
    keys_and_values = jax.tree.leaves((cache.keys, cache.values))
    assert 4 * device_bytes(keys_and_values) == sum(leaf.nbytes for leaf in keys_and_values)
    facts = examine(of, generation_uses(of, batch))
    assert facts["program_alias_bytes"] == device_bytes(cache)
    assert facts["mesh"]["kv_cache_bytes_per_device"] == device_bytes(keys_and_values)
    whole = sum(leaf.nbytes for leaf in of.leaves)
    assert whole / 2 < device_bytes(of.leaves) < 0.51 * whole  # the norms are whole on each


def test_looking_at_programs_that_ran_compiles_nothing(spread, ledger):
    of, batch = spread
    uses = generation_uses(of, batch)
    mark = ledger.mark()
    examine(of, uses)
    assert ledger.since(mark).functions.get("loop", 0) == 0


def test_what_devices_tell_each_other_is_counted(spread):
    of = model(mesh=BY_HEADS, num_layers=3)
    (batch,) = of.batches(PROMPTS)
    (loop,) = [
        found
        for name, found in examine(of, generation_uses(of, batch))["mesh"]["collectives"].items()
        if "loop" in name
    ]
    assert loop["all-reduce"] == 2 * 3 + 1  # behind o and down of each layer, and the embedding


def test_more_devices_than_there_are_are_refused_with_both_numbers():
    with pytest.raises(
        UserError, match=r"mesh\.data=2 x mesh\.tensor=4 needs 8 devices, and there are 4 \(cpu\)"
    ):
        layout_of(Mesh(data=2, tensor=4), LLAMA)


def test_every_parameter_has_its_axes():
    """Norms, and biases of what is whole, alone are whole on every device."""
    for each in MODELS.values():
        layout = layout_of(BY_HEADS, each)
        whole = [name for name in weights(each)[0].names if layout.weight(name).is_fully_replicated]
        ends = (".scale", "o.bias", "down.bias", "norm.bias")
        assert all(name.endswith(ends) or name == "position" for name in whole)


def test_scales_of_narrow_numbers_follow_their_axes():
    layout = layout_of(BY_HEADS, LLAMA)
    assert layout.weight("blocks.0.attention.q.kernel_scale") == layout.weight(
        "blocks.0.attention.q.bias"
    )
    assert layout.weight("blocks.0.attention.o.kernel_scale").is_fully_replicated
    assert (
        layout.weight("embedding_scale").spec
        == layout.weight("head_scale").spec
        == PartitionSpec("tensor")
    )


def test_an_array_that_nobody_knows_is_an_error():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Novel:
        numbers: jax.Array

    with pytest.raises(KeyError, match=r"no axes are known of \.numbers"):
        layout_of(BY_HEADS, LLAMA).shardings(Novel(np.zeros(3)))
