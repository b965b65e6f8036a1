"""The array functions against plain numpy: rotary positions, norms and attention."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.ops import rope
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.norms import layer_norm, rms_norm
from jaxgen.specs.architecture import RopeScaling

# float32 against float64 over sums of at most 16 numbers of size 1 to 4: some ten roundings of 6e-8
ROUNDING = 1e-5
# Published for Llama 3.2; the planes of 64-wide heads cover those that stay, blend and stretch.
LLAMA3 = RopeScaling(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192)
RNG_SEED = 20


def numbers(*shape):
    return np.random.default_rng(RNG_SEED).standard_normal(shape).astype(np.float32)


def rotated(x, *, at, freqs):
    return np.asarray(
        rope.rotate(jnp.asarray(x), *rope.rotation(jnp.asarray(at, jnp.int32), freqs))
    )


def test_a_rotation_turns_each_plane_by_position_times_frequency():
    freqs = np.array(
        [np.pi / 2, np.pi / 6], np.float32
    )  # at position 1: quarter and twelfth of a turn
    x = np.array([1.0, 2.0, 0.0, 0.0], np.float32).reshape(
        1, 1, 1, 4
    )  # planes (x0, x2) and (x1, x3)
    half, root = 2 * 0.5, 2 * np.sqrt(0.75)
    np.testing.assert_allclose(
        rotated(x, at=[[1]], freqs=freqs).ravel(), [0, root, 1, half], atol=ROUNDING
    )


def test_position_zero_is_not_rotated():
    x = numbers(1, 1, 3, 8)
    freqs = rope.frequencies(8, theta=100.0, scaling=None)
    np.testing.assert_array_equal(rotated(x, at=[[0]], freqs=freqs), x)


def test_rotated_products_depend_on_the_distance_alone():
    freqs = rope.frequencies(8, theta=100.0, scaling=None)
    q, k = numbers(2, 1, 1, 1, 8)

    def product(at_q, at_k):
        return np.sum(rotated(q, at=[[at_q]], freqs=freqs) * rotated(k, at=[[at_k]], freqs=freqs))

    np.testing.assert_allclose([product(3, 1), product(12, 10)], product(2, 0), atol=ROUNDING)


def test_frequencies_fall_by_powers_of_theta():
    np.testing.assert_allclose(
        rope.frequencies(8, theta=10000.0, scaling=None), [1, 0.1, 0.01, 0.001], rtol=ROUNDING
    )


def test_llama3_scaling_agrees_with_the_formula_by_wavelength():
    """Compute by wavelengths, as the published reference does; the code has turns per context."""
    expected = []
    for plane in range(32):
        wavelength = 2 * np.pi * 500000.0 ** (2 * plane / 64)
        if wavelength < 8192 / 4.0:
            stretch = 1.0
        elif wavelength > 8192 / 1.0:
            stretch = 1 / 32.0
        else:
            smooth = (8192 / wavelength - 1.0) / (4.0 - 1.0)
            stretch = (1 - smooth) / 32.0 + smooth
        expected.append(stretch * 2 * np.pi / wavelength)
    np.testing.assert_allclose(
        rope.frequencies(64, theta=500000.0, scaling=LLAMA3), expected, rtol=ROUNDING
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layer_norm_agrees_with_numpy(rank):
    x, scale, bias = 3 + 2 * numbers(*range(2, rank + 1), 16), numbers(16), numbers(2, 16)[1]
    wide = x.astype(np.float64)
    unit = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-2)
    given = layer_norm(jnp.asarray(x), jnp.asarray(scale), jnp.asarray(bias), eps=1e-2)
    np.testing.assert_allclose(given, unit * scale + bias, atol=ROUNDING)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_rms_norm_agrees_with_numpy(rank):
    x, scale = 3 + 2 * numbers(*range(2, rank + 1), 16), numbers(16)
    wide = x.astype(np.float64)
    unit = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-2)
    np.testing.assert_allclose(
        rms_norm(jnp.asarray(x), jnp.asarray(scale), eps=1e-2), unit * scale, atol=ROUNDING
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_norms_sum_in_float32_and_answer_in_the_dtype_of_the_input(dtype):
    x = jnp.full((1, 1024), 100.0, dtype)  # the sum of squares is 1e7: beyond float16
    given = rms_norm(x, jnp.ones((1024,), dtype), eps=0.0)
    assert given.dtype == dtype
    np.testing.assert_array_equal(given.astype(jnp.float32), 1.0)


def naive_attention(q, k, v, mask):
    """One query, one head, one key at a time, in float64."""
    context = np.zeros(q.shape)
    for row, time, head in np.ndindex(q.shape[:3]):
        kv_head = head // (q.shape[2] // k.shape[2])
        seen = [key for key in range(k.shape[1]) if mask[row, time, key]]
        scores = np.array(
            [q[row, time, head] @ k[row, key, kv_head] for key in seen], np.float64
        ) / np.sqrt(q.shape[3])
        weights = np.exp(scores - scores.max())
        for key, weight in zip(seen, weights / weights.sum(), strict=True):
            context[row, time, head] += weight * v[row, key, kv_head]
    return context


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_attention_agrees_with_a_loop_for_every_grouping_of_heads(kv_heads):
    q, k, v = (
        numbers(2, 4, 6, 8),
        numbers(3, 2, 5, kv_heads, 8)[1],
        numbers(4, 2, 5, kv_heads, 8)[3],
    )
    mask = np.random.default_rng(RNG_SEED).random((2, 4, 5)) < 0.6
    mask[..., 0] = True  # every query sees something
    given = attention(*map(jnp.asarray, (q, k, v, mask)))
    np.testing.assert_allclose(given, naive_attention(q, k, v, mask), atol=ROUNDING)


def test_what_the_mask_hides_has_no_weight_at_all():
    q, k, v = numbers(1, 1, 2, 4), numbers(1, 3, 1, 4), numbers(1, 3, 1, 4)
    mask = jnp.array([[[True, False, True]]])
    loud = [values.copy() for values in (k, v)]
    for values in loud:
        values[:, 1] = 1e6
    np.testing.assert_array_equal(
        attention(jnp.asarray(q), *map(jnp.asarray, loud), mask),
        attention(*map(jnp.asarray, (q, k, v)), mask),
    )


def test_attention_keeps_the_dtype_of_the_queries_over_a_narrower_cache():
    q, k, v = numbers(1, 1, 2, 4), numbers(1, 3, 1, 4), numbers(1, 3, 1, 4)
    narrow = [jnp.asarray(values).astype(jnp.bfloat16) for values in (k, v)]
    wide = [np.asarray(values.astype(jnp.float32)) for values in narrow]
    mask = np.ones((1, 1, 3), bool)
    given = attention(jnp.asarray(q), *narrow, jnp.asarray(mask))
    assert given.dtype == jnp.float32
    np.testing.assert_allclose(given, naive_attention(q, *wide, mask), atol=ROUNDING)


def test_a_query_sees_its_own_position_and_earlier_ones_but_no_empty_slot():
    positions, slots = jnp.array([[2, 3]]), jnp.array([[0, 1, -1, 2, 3, 4]])
    expected = [[[True, True, False, True, False, False], [True, True, False, True, True, False]]]
    np.testing.assert_array_equal(causal_mask(positions, slots), expected)
