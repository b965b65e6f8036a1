"""Narrow dtypes: how far the four knobs move the log-probabilities, and that they act at all."""

import functools

import jax
import numpy as np
import pytest

from jaxgen.engine.next_token import next_logprobs
from jaxgen.specs.cache import Fixed
from jaxgen.specs.dtype import Dtype, Number
from support.small_models import FAMILIES, NEW_TOKENS, PROMPTS, engine, run

# Root mean square of the errors over the vocabulary, as a share of the logits' spread. bfloat16
# keeps 8 bits: one rounding is 1e-3 in the mean, weights and some sixty activations on the way add
# up to 1 %, and peaked attention makes a few of it. A part left out of the model is of the size of
# the spread itself. float16 has three bits more.
ROUNDING_SHARES = {Number.bfloat16: 0.1, Number.float16: 0.1 / 8}
FLOAT32_SHARE = 1e-5  # a smaller change is no sign of a narrow dtype
CACHE = Fixed(bucket=0)
SUM_ROUNDING = 1e-5  # of a hundred float32 numbers that add up to 1
KNOBS = ("weights", "activations", "kv", "logits")


@functools.cache  # one compile for each family and dtype of this file
def logprobs(family, dtype):
    return next_logprobs(engine(run(architecture=FAMILIES[family], dtype=dtype)), PROMPTS[1])


def moved(family, dtype):
    """The error against float32 as a share of the spread."""
    wide = logprobs(family, Dtype())
    return np.sqrt(np.mean((logprobs(family, dtype) - wide) ** 2)) / wide.std()


@pytest.mark.parametrize("narrow", ROUNDING_SHARES, ids=lambda narrow: narrow.value)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_narrow_dtype_stays_within_its_rounding(family, narrow):
    assert moved(family, Dtype(**dict.fromkeys(KNOBS, narrow))) < ROUNDING_SHARES[narrow]


@pytest.mark.parametrize("knob", KNOBS)
def test_each_knob_takes_effect_on_its_own(knob):
    assert (
        FLOAT32_SHARE
        < moved("llama", Dtype(**{knob: Number.bfloat16}))
        < ROUNDING_SHARES[Number.bfloat16]
    )


def test_log_probabilities_are_normalised_and_float32_whatever_the_dtype():
    given = logprobs("llama", Dtype(**dict.fromkeys(KNOBS, Number.bfloat16)))
    assert given.dtype == np.float32
    np.testing.assert_allclose(np.exp(given).sum(), 1.0, atol=SUM_ROUNDING)


@pytest.mark.parametrize("narrow", ROUNDING_SHARES, ids=lambda narrow: narrow.value)
def test_a_narrow_engine_generates_through_a_narrow_cache(narrow):
    model = engine(run(dtype=Dtype(**dict.fromkeys(KNOBS, narrow)), cache=CACHE))
    (batch,) = model.batches(PROMPTS)
    cache, state = model.prefill(batch, model.empty_cache(batch))
    cache, state = model.decode(batch, cache, state)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((cache.keys, cache.values))} == {
        narrow.value
    }
    assert [len(new) for new, _ in model.outputs(batch, state)] == [NEW_TOKENS] * len(PROMPTS)
