"""The two orders of a buffer's axes: both read the same, and who decides between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import caches
from jaxgen.caches.buffers import HND, HND_ROWS, NHD
from jaxgen.caches.fixed import FixedCache
from jaxgen.caches.two_regions import RegionsCache
from jaxgen.ops.quantisation import Quantised
from jaxgen.specs.cache import Fixed, KVLayout
from support.small_models import FAMILIES

LLAMA = FAMILIES["llama"]
ROWS, SLOTS = 3, 6
KINDS = {"NHD": NHD, "HND": HND}


def numbers(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


def empty_buffer(kind, dtype):
    return kind.empty(LLAMA, batch=ROWS, slots=SLOTS, dtype=jnp.dtype(dtype))


def plain(array):
    return np.asarray(array.astype(jnp.float32))


@pytest.fixture(params=["float32", "int8"])
def both(request):
    """Return an empty buffer of either order."""
    return [empty_buffer(kind, request.param) for kind in KINDS.values()]


@pytest.mark.parametrize(
    "starts", [2, jnp.array([0, 3, 4])], ids=["one start", "a start for each row"]
)
def test_what_is_written_reads_the_same_in_either_order(both, starts):
    new = numbers(ROWS, 2, LLAMA.num_kv_heads, LLAMA.head_dim)
    one, other = (plain(buffer.write(new, starts).first(SLOTS)) for buffer in both)
    np.testing.assert_array_equal(one, other)
    for row, start in enumerate(np.broadcast_to(starts, (ROWS,))):
        np.testing.assert_allclose(one[row, start : start + 2], new[row], atol=0.02)
        assert not np.delete(one[row], [start, start + 1], axis=0).any()


def test_the_first_slots_and_each_row_s_choice_of_them(both):
    new = numbers(ROWS, SLOTS, LLAMA.num_kv_heads, LLAMA.head_dim)
    choice = jnp.array([[5, 0], [1, 1], [2, 4]])
    for buffer in both:
        holding = buffer.of_tokens(new)
        assert (buffer.slots, holding.slots, holding.gather(choice).slots) == (SLOTS, SLOTS, 2)
        np.testing.assert_allclose(plain(holding.first(4)), new[:, :4], atol=0.02)
        expected = np.take_along_axis(np.asarray(new), np.asarray(choice)[:, :, None, None], axis=1)
        np.testing.assert_allclose(plain(holding.gather(choice).first(2)), expected, atol=0.02)


@pytest.mark.parametrize(
    ("kind", "axes"), [(NHD, (ROWS, SLOTS, 2)), (HND, (ROWS, 2, SLOTS))], ids=KINDS
)
def test_how_it_lies_in_memory(kind, axes):
    assert empty_buffer(kind, "float32").array.shape == (*axes, LLAMA.head_dim)
    array = empty_buffer(kind, "int8").array
    assert isinstance(array, Quantised)
    assert (array.numbers.shape, array.scales.shape) == ((*axes, LLAMA.head_dim), (*axes, 1))


@pytest.mark.parametrize("regions", [1, 2])
@pytest.mark.parametrize(
    ("layout", "rows", "dtype", "kind"),
    [
        (KVLayout.auto, HND_ROWS - 1, "float32", NHD),
        (KVLayout.auto, HND_ROWS, "float32", HND),
        (KVLayout.auto, 1, "bfloat16", HND),
        (KVLayout.auto, 1, "int8", HND),
        (KVLayout.NHD, HND_ROWS, "int8", NHD),
        (KVLayout.HND, 1, "float32", HND),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_layout_goes_by_rows_and_dtype_unless_it_is_given(
    layout, rows, dtype, kind, regions, monkeypatch
):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    spec, dtype = Fixed(layout=layout, regions=regions), jnp.dtype(dtype)
    cache = caches.create(spec, LLAMA, batch=rows, capacity=SLOTS, dtype=dtype)
    assert isinstance(cache, RegionsCache if regions == 2 else FixedCache)
    keys = cache.keys if isinstance(cache, FixedCache) else (*cache.prompt_keys, *cache.new_keys)
    assert {type(each) for each in keys} == {kind}
    assert caches.kv_layout(spec, batch=rows, dtype=dtype) == kind.__name__


def test_auto_changes_nothing_where_nothing_was_measured(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert caches.kv_layout(Fixed(), batch=64, dtype=jnp.dtype("int8")) == "NHD"
