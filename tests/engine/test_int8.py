"""int8 weights, activations and caches: near float32, the same whatever the cache, and small."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest

from jaxgen.engine.next_token import next_logprobs
from jaxgen.models.structure import structure_of
from jaxgen.ops.quantisation import Quantised
from jaxgen.specs.cache import Dynamic, Fixed, KVLayout, Paged
from jaxgen.specs.dtype import Dtype, Int8, Number
from jaxgen.specs.model import Model
from support.small_models import CACHES, FAMILIES, PROMPTS, engine, run, tokens

WEIGHTS = Dtype(weights=Number.int8)
# Root mean square over the vocabulary as a share of the logits' spread. int8 with a scale for each
# channel rounds by 0.4 % of the largest weight, four times bfloat16's 0.1 % in the mean;
# activations so rounded add as much again.
SHARES = {
    "weights": (WEIGHTS, 0.15),
    "both": (Dtype(weights=Number.int8, activations=Number.int8), 0.25),
    "kv": (Dtype(kv=Number.int8), 0.15),
    "bfloat16 between": (Dtype(weights=Number.int8, activations=Number.bfloat16), 0.25),
}


@functools.cache
def logprobs(family, dtype):
    return next_logprobs(engine(run(architecture=FAMILIES[family], dtype=dtype)), PROMPTS[1])


REST = itertools.product(("gpt2", "qwen3"), ("both", "kv", "bfloat16 between"))


@pytest.mark.parametrize(
    ("family", "how"), [*((family, "weights") for family in FAMILIES), *REST], ids=str
)
def test_int8_stays_near_float32(family, how):
    dtype, share = SHARES[how]
    wide = logprobs(family, Dtype())
    moved = np.sqrt(np.mean((logprobs(family, dtype) - wide) ** 2)) / wide.std()
    assert 1e-4 < moved < share


KV = Dtype(kv=Number.int8)
KEPT = {
    "dynamic": Dynamic(),
    "fixed": Fixed(),
    "two regions": Fixed(regions=2, layout=KVLayout.NHD),
    "ring": Fixed(window=64),
    "pages": Paged(page_size=8),
}


@pytest.mark.parametrize(
    "family", ["gpt2", "qwen3"]
)  # heads of their own, and shared ones with norms
def test_what_an_int8_cache_keeps_does_not_depend_on_its_kind(family):
    """Each token and head is rounded by itself."""
    made = {
        name: tokens(
            engine(run(architecture=FAMILIES[family], cache=cache, dtype=KV, max_new_tokens=4))
        )
        for name, cache in KEPT.items()
    }
    assert all(found == made["dynamic"] for found in made.values())


def test_int8_weights_write_the_same_whatever_the_cache():
    fixed, padded = (
        tokens(engine(run(cache=CACHES[name], dtype=WEIGHTS, max_new_tokens=3)))
        for name in ("fixed", "none_padded")
    )
    assert fixed == padded


def test_the_cache_is_donated_numbers_and_scales():
    model = engine(run(dtype=KV))
    (batch,) = model.batches(PROMPTS)
    cache = model.empty_cache(batch)
    assert isinstance(cache.keys[0].array, Quantised)
    model.prefill(batch, cache)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((cache.keys, cache.values)))


@pytest.mark.parametrize("family", FAMILIES)
def test_matrices_and_head_are_int8_and_nothing_else_is(family):
    model = engine(run(architecture=FAMILIES[family], dtype=WEIGHTS))
    structure = model.blueprint.structure
    leaves = dict(zip(structure.names, model.leaves, strict=True))
    narrow = {name for name, leaf in leaves.items() if leaf.dtype == "int8"}
    head = "embedding" if FAMILIES[family].tied else "head"
    assert narrow == {head, *(name for name in leaves if name.endswith(".kernel_rows"))}
    assert {leaf.dtype.name for name, leaf in leaves.items() if name not in narrow} == {"float32"}
    assert tuple(leaf.shape for leaf in model.leaves) == structure.shapes


def test_gpt2_in_int8_is_a_quarter(gpt2):
    sizes = {}
    for int8 in Int8:
        structure = structure_of(gpt2, int8)
        named = zip(structure.names, structure.shapes, strict=True)
        widths = [
            (1 if name.endswith("kernel_rows") or name == "embedding" else 4, shape)
            for name, shape in named
        ]
        sizes[int8] = sum(width * math.prod(shape) for width, shape in widths)
    assert sizes[Int8.weights] == sizes[Int8.both] < 170e6


@pytest.fixture
def gpt2():
    from jaxgen.config.experiment import load_experiment

    model = load_experiment(["model=gpt2", "model.weights=random"]).arms["candidate"].run.model
    assert isinstance(model, Model)
    assert model.shapes is not None
    return model.shapes
