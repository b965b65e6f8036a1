"""Other engines of an arm: its sums in another order, and its float32 shadow."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.checkpoints.tensor_leaves import as_leaves
from jaxgen.engine.reordered import reordered
from jaxgen.engine.shadow import shadow_of
from jaxgen.engine.teacher_forcing import forced_logprobs
from jaxgen.models.structure import structure_of
from jaxgen.specs.dtype import Dtype, Int8, Number
from support.small_models import FAMILIES, PROMPTS, engine, run, tokens

INT8 = Dtype(weights=Number.int8, kv=Number.int8, activations=Number.bfloat16)
BFLOAT16 = Dtype(weights=Number.bfloat16, activations=Number.bfloat16, kv=Number.bfloat16)


def logprobs(model, outputs):
    reading = forced_logprobs(model, PROMPTS, outputs=outputs)
    return np.concatenate([piece.logprobs.ravel() for piece in reading.pieces])


@pytest.mark.parametrize("family", FAMILIES)
def test_another_order_of_the_sums_is_the_same_function_up_to_rounding(family, ledger):
    model = engine(run(architecture=FAMILIES[family]))
    # Restored weights are committed to their device, and so are those in another order.
    device = jax.devices()[0]
    model.leaves = tuple(jax.device_put(leaf, device) for leaf in model.leaves)
    outputs = tokens(model)
    own = logprobs(model, outputs)
    mark = ledger.mark()
    other = logprobs(reordered(model), outputs)
    assert 0 < np.abs(other - own).max() < 1e-4
    # The same shapes: the pass over them compiles nothing.
    assert ledger.since(mark).count("compile") == 0


def test_quantised_weights_keep_their_scales():
    model = engine(run(dtype=INT8))
    other = reordered(model)
    named = zip(model.blueprint.structure.names, model.leaves, other.leaves, strict=True)
    for name, leaf, moved in named:
        assert leaf.dtype == moved.dtype
        assert np.array_equal(np.sort(leaf, axis=None), np.sort(moved, axis=None)), name


@pytest.mark.parametrize("dtype", [BFLOAT16, INT8], ids=["bfloat16", "int8"])
def test_a_shadow_is_the_float32_model_of_the_weights_as_they_are_stored(dtype):
    model = engine(run(dtype=dtype))
    shadow = shadow_of(model)
    assert shadow.run.dtype.between == shadow.run.dtype.kv.value == "float32"
    assert shadow.run.cache.layout is not model.run.cache.layout  # `auto` is settled
    plain = engine(run())
    wide = []
    for name, leaf in zip(plain.blueprint.structure.names, plain.leaves, strict=True):
        wide.append(_rounded(name, leaf, dtype))
    plain.leaves = tuple(wide)
    outputs = tokens(plain)
    np.testing.assert_allclose(logprobs(shadow, outputs), logprobs(plain, outputs), atol=1e-5)


def _rounded(name, leaf, dtype):
    """A weight as float32 of what the dtype stores of it."""
    structure = structure_of(FAMILIES["llama"], dtype.int8)
    stored = as_leaves(name, leaf, structure=structure, dtype=dtype.float_dtype)
    if len(stored) == 1:
        return next(iter(stored.values())).astype(jnp.float32)
    rows, scale = stored.values()
    wide = rows.astype(jnp.float32) * scale[:, None]
    return wide if dtype.int8 is Int8.none or not name.endswith(".kernel") else wide.T


def test_a_shadow_of_float32_shares_the_weights():
    model = engine()
    shadow = shadow_of(model)
    assert all(a is b for a, b in zip(model.leaves, shadow.leaves, strict=True))
    assert dataclasses.replace(shadow.run, cache=model.run.cache) == model.run
