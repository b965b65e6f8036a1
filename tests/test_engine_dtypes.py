"""Narrow dtypes: how far the four knobs move the log-probabilities, and that they take effect at all."""

import functools

import numpy as np
import pytest
from small_models import FAMILIES, NEW_TOKENS, PROMPTS, engine, run, tokens

from jaxgen.spec.cache import Fixed
from jaxgen.spec.dtype import Dtype, Float

# Root mean square of the errors over the vocabulary, as a share of the logits' spread. bfloat16 keeps 8 bits: one
# rounding is 1e-3 in the mean, weights and some sixty activations on the way add up to 1 %, and peaked attention makes
# a few of it. A part left out of the model is of the size of the spread itself. float16 has three bits more.
ROUNDING_SHARES = {Float.bfloat16: 0.1, Float.float16: 0.1 / 8}
FLOAT32_SHARE = 1e-5  # a smaller change is no sign of a narrow dtype
CACHE = Fixed(bucket=0)
SUM_ROUNDING = 1e-5  # of a hundred float32 numbers that add up to 1
KNOBS = ("weights", "activations", "kv", "logits")


@functools.cache  # one compile for each family and dtype of this file
def logprobs(family, dtype):
    return engine(run(architecture=FAMILIES[family], dtype=dtype)).next_logprobs(PROMPTS[1])


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
    assert FLOAT32_SHARE < moved("llama", Dtype(**{knob: Float.bfloat16})) < ROUNDING_SHARES[Float.bfloat16]


def test_log_probabilities_are_normalised_and_float32_whatever_the_dtype():
    given = logprobs("llama", Dtype(**dict.fromkeys(KNOBS, Float.bfloat16)))
    assert given.dtype == np.float32
    np.testing.assert_allclose(np.exp(given).sum(), 1.0, atol=SUM_ROUNDING)


def test_float16_writes_the_float32_tokens():
    """On the greedy path of this model the best token leads by 0.1 or more, forty times float16's error."""
    narrow = Dtype(**dict.fromkeys(KNOBS, Float.float16))
    assert tokens(engine(run(dtype=narrow, cache=CACHE))) == tokens(engine(run(cache=CACHE)))


def test_bfloat16_generates_with_a_bfloat16_cache():
    model = engine(run(dtype=Dtype(**dict.fromkeys(KNOBS, Float.bfloat16)), cache=CACHE))
    (batch,) = model.batches(PROMPTS)
    cache, state = model.prefill(batch, model.empty_cache(batch))
    cache, state = model.decode(batch, cache, state)
    assert {kept.dtype.name for kept in (*cache.keys, *cache.values)} == {"bfloat16"}
    np.testing.assert_array_equal(state.lengths, [len(prompt) + NEW_TOKENS for prompt in PROMPTS])
