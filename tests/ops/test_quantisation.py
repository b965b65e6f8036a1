"""int8 numbers and scales: how near they come, and products with them against exact arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.ops.int8_product import FEW_TOKENS, int8_product
from jaxgen.ops.quantisation import LARGEST, Quantised, cast_like, empty, quantise

RNG = np.random.default_rng(5)


def noise(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


class TestQuantise:
    def test_numbers_lie_within_half_a_step(self):
        x = noise(7, 33) * np.array([1e-3, 1e-2, 0.1, 1, 10, 100, 1000], np.float32)[:, None]
        numbers, scales = quantise(jnp.asarray(x))
        assert (numbers.dtype, scales.dtype, scales.shape) == (jnp.int8, jnp.float32, (7, 1))
        assert (
            np.abs(np.asarray(numbers) * np.asarray(scales) - x) <= 0.5001 * np.asarray(scales)
        ).all()

    def test_the_largest_is_exact_and_no_number_is_minus_128(self):
        x = jnp.array([[-3.0, 1.0, 3.0], [0.5, -2.0, 1.0]])
        numbers, scales = quantise(x)
        assert np.abs(np.asarray(numbers)).max(axis=1).tolist() == [LARGEST, LARGEST]
        np.testing.assert_allclose(
            np.asarray(numbers)[0] * np.asarray(scales)[0], [-3.0, 1.0, 3.0], atol=0.012
        )

    def test_zeros_stay_zeros(self):
        array = Quantised(*quantise(jnp.zeros((2, 4))))
        assert np.asarray(array.astype(jnp.float32)).tolist() == np.zeros((2, 4)).tolist()


class TestQuantised:
    def test_an_array_is_cut_with_its_scales(self):
        array = Quantised(*quantise(jnp.asarray(noise(3, 5, 8))))
        assert (array.shape, array.dtype) == ((3, 5, 8), jnp.int8)
        plain = np.asarray(array.astype(jnp.float32))
        np.testing.assert_array_equal(np.asarray(array[:, 1:3].astype(jnp.float32)), plain[:, 1:3])

    def test_new_numbers_are_stored_as_those_there(self):
        new = jnp.asarray(noise(2, 4))
        assert isinstance(cast_like(new, empty((2, 4), "int8")), Quantised)
        assert cast_like(new, empty((2, 4), "bfloat16")).dtype == jnp.bfloat16


ERRORS = {False: 5e-5, True: 0.02}
"""Root mean square, as a share of the results': two digits have 16 bits, one has 8."""


@pytest.mark.parametrize("narrow", ERRORS)
@pytest.mark.parametrize("shape", [(64,), (1, 64), (2, 3, 64), (FEW_TOKENS + 1, 64)], ids=str)
def test_a_product_is_that_of_the_widened_weights(narrow, shape):
    x, (rows, scales) = noise(*shape), quantise(jnp.asarray(noise(48, 64)))
    given = jax.jit(int8_product, static_argnames="narrow")(
        jnp.asarray(x), rows, scales[:, 0], narrow=narrow
    )
    wanted = (
        x.astype(np.float64) @ (np.asarray(rows, np.float64) * np.asarray(scales, np.float64)).T
    )
    assert given.shape == (*shape[:-1], 48)
    error = np.sqrt(np.mean((np.asarray(given) - wanted) ** 2)) / wanted.std()
    assert error < ERRORS[narrow]
    assert not narrow or error > ERRORS[False]  # the activations are rounded indeed


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_product_has_the_dtype_that_is_asked_for(dtype):
    rows, scales = quantise(jnp.asarray(noise(8, 16)))
    x = jnp.asarray(noise(2, 16)).astype(dtype)
    assert int8_product(x, rows, scales[:, 0], narrow=False).dtype == jnp.dtype(dtype)
    assert int8_product(x, rows, scales[:, 0], narrow=False, dtype=jnp.float32).dtype == jnp.float32


def test_a_token_of_zeros_gives_zeros():
    rows, scales = quantise(jnp.asarray(noise(8, 16)))
    for narrow in (False, True):
        assert not np.asarray(
            int8_product(jnp.zeros((1, 16)), rows, scales[:, 0], narrow=narrow)
        ).any()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how XLA on CPU makes it")
@pytest.mark.parametrize("narrow", [False, True])
def test_a_loop_of_steps_writes_no_wide_copy_of_the_weights(narrow):
    rows, scales = quantise(jnp.asarray(noise(256, 256)))

    def steps(x, rows, scales):
        return jax.lax.fori_loop(
            0, 5, lambda _, each: jnp.tanh(int8_product(each, rows, scales, narrow=narrow)), x
        )

    compiled = jax.jit(steps).lower(jnp.asarray(noise(1, 256)), rows, scales[:, 0]).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < rows.size
