"""Sampling: what is kept, what is drawn, and what the draw depends on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.ops.sampling import keep_top_k, keep_top_p, next_token
from jaxgen.specs.workload import Sampling

VOCABULARY = 23
DRAWS = 4096
# Of a count with probability p, DRAWS tries have a standard deviation of sqrt(DRAWS p (1 - p));
# five of them are left behind once in two million tries. The seed is fixed: a failure is a wrong
# distribution, not bad luck.
DEVIATIONS = 5


def logits(rows, *, seed=0):
    return jnp.asarray(
        np.random.default_rng(seed).normal(scale=2.0, size=(rows, VOCABULARY)), jnp.float32
    )


@functools.partial(jax.jit, static_argnames="sampling")
def draw(given, *, sampling, seed, rows, positions):
    return next_token(given, sampling, seed=seed, rows=rows, positions=positions)


def drawn(given, sampling, *, seed=7, rows=None, positions=None):
    count = given.shape[0]
    rows = jnp.arange(count, dtype=jnp.int32) if rows is None else jnp.asarray(rows, jnp.int32)
    positions = (
        jnp.full((count,), 5, jnp.int32) if positions is None else jnp.asarray(positions, jnp.int32)
    )
    return np.asarray(
        draw(given, sampling=sampling, seed=jnp.uint32(seed), rows=rows, positions=positions)
    )


def reference_top_k(values, k):
    return {int(token) for token in np.argsort(-values)[:k]}


def reference_top_p(values, p):
    weights = np.exp(values - values.max()).astype(np.float64)
    kept, total = set(), 0.0
    for token in np.argsort(-values):
        kept.add(int(token))
        total += weights[token] / weights.sum()
        if total >= p:
            break
    return kept


def kept(values):
    return [
        {int(token) for token in np.flatnonzero(np.isfinite(row))} for row in np.asarray(values)
    ]


def test_greedy_is_the_argmax_whatever_the_seed():
    given = logits(6)
    for seed in range(3):
        np.testing.assert_array_equal(
            drawn(given, Sampling(), seed=seed), np.argmax(given, axis=-1)
        )


def test_a_temperature_near_zero_is_greedy():
    given = logits(64)
    np.testing.assert_array_equal(
        drawn(given, Sampling(temperature=1e-4)), np.argmax(given, axis=-1)
    )


@pytest.mark.parametrize("k", [1, 3, VOCABULARY, VOCABULARY + 9])
def test_top_k_keeps_what_numpy_keeps(k):
    given = logits(8)
    assert kept(keep_top_k(given, k)) == [reference_top_k(row, k) for row in np.asarray(given)]


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.8, 0.999, 1.0])
def test_top_p_keeps_what_numpy_keeps(p):
    given = logits(8)
    assert kept(keep_top_p(given, p)) == [reference_top_p(row, p) for row in np.asarray(given)]


def test_a_top_p_of_one_drops_nothing_however_unlikely():
    steep = jnp.linspace(0.0, -60.0, VOCABULARY)[
        None, :
    ]  # in float32 the first seven already sum to 1
    assert kept(keep_top_p(steep, 1.0)) == [set(range(VOCABULARY))]


def test_kept_logits_do_not_change():
    given = logits(4)
    for filtered in (keep_top_k(given, 5), keep_top_p(given, 0.7)):
        np.testing.assert_array_equal(np.where(np.isfinite(filtered), filtered, given), given)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.5),
        Sampling(temperature=2.0),
        Sampling(temperature=1.0, top_k=4),
        Sampling(temperature=1.0, top_p=0.8),
        Sampling(temperature=2.0, top_k=6, top_p=0.7),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_the_softmax_says(sampling):
    given = logits(1)
    counts = np.bincount(drawn(jnp.repeat(given, DRAWS, axis=0), sampling), minlength=VOCABULARY)
    values = np.asarray(given[0], np.float64) / sampling.temperature
    if sampling.top_k is not None:
        values[list(set(range(VOCABULARY)) - reference_top_k(values, sampling.top_k))] = -np.inf
    if sampling.top_p is not None:
        values[list(set(range(VOCABULARY)) - reference_top_p(values, sampling.top_p))] = -np.inf
    probabilities = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
    spread = np.sqrt(DRAWS * probabilities * (1 - probabilities))
    assert (np.abs(counts - DRAWS * probabilities) <= DEVIATIONS * spread).all()


def test_a_row_draws_the_same_in_any_batch():
    given, sampling = logits(5), Sampling(temperature=1.5)
    together = drawn(given, sampling, positions=[3, 4, 5, 6, 7])
    some = jnp.array([4, 1])
    np.testing.assert_array_equal(
        drawn(given[some], sampling, rows=[4, 1], positions=[7, 4]), together[[4, 1]]
    )


@pytest.mark.parametrize(
    "changed", [{"seed": 8}, {"rows": range(1, 65)}, {"positions": [6] * 64}], ids=str
)
def test_seed_row_and_position_each_change_what_is_drawn(changed):
    flat = jnp.zeros((64, VOCABULARY))
    sampling = Sampling(temperature=1.0)
    assert (drawn(flat, sampling, **changed) != drawn(flat, sampling)).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_logits_are_drawn_from_in_float32(dtype):
    given = logits(16).astype(dtype)
    sampling = Sampling(temperature=0.7, top_k=9, top_p=0.9)
    np.testing.assert_array_equal(
        drawn(given, sampling), drawn(given.astype(jnp.float32), sampling)
    )
