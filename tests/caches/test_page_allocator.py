"""Pools: whatever the layout, what was written is found again, and what has no page is dropped."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.caches.page_pools import HeadsFirst, Interleaved

NOWHERE = 6


@pytest.fixture(params=[HeadsFirst, Interleaved], ids=lambda layout: layout.__name__)
def pool(request):
    """Six pages of four slots, of which pages 2 and 5 are full."""
    empty = request.param.empty(
        num_pages=NOWHERE, page_size=4, num_kv_heads=2, head_dim=3, dtype=jnp.bfloat16
    )
    k = jnp.arange(1, 49, dtype=jnp.float32).reshape(2, 4, 2, 3)
    slots = jnp.broadcast_to(jnp.arange(4), (2, 4))
    return empty.write(k, -k, pages=jnp.array([[2] * 4, [5] * 4]), offsets=slots)


def found(pool, *pages):
    """Keys and values of some pages, one after the other."""
    keys, values = pool.gather(jnp.array([pages]))
    assert keys.dtype == values.dtype == jnp.bfloat16
    np.testing.assert_array_equal(values, -keys)
    return np.asarray(keys[0], np.float32)


def test_what_was_written_is_found_in_the_order_of_the_table(pool):
    expected = np.arange(1, 49).reshape(2, 4, 2, 3)
    np.testing.assert_array_equal(
        found(pool, 5, 0, 2), np.concatenate([expected[1], 0 * expected[0], expected[0]])
    )


def test_a_write_without_a_page_is_dropped(pool):
    new = jnp.full((1, 2, 2, 3), 99.0)
    written = pool.write(new, -new, pages=jnp.array([[3, NOWHERE]]), offsets=jnp.array([[1, 2]]))
    everything = found(written, *range(NOWHERE)).reshape(NOWHERE, 4, 2, 3)
    assert (everything[3, 1] == 99).all()
    assert (everything == 99).sum() == 2 * 3


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (2, 0, (2, 1, 2, 3, 4, 5)),
        (2, NOWHERE, (0, 1, 2, 3, 4, 5)),
        ([2, 5, 5], [5, 2, NOWHERE], (0, 1, 5, 3, 4, 2)),
    ],
    ids=str,
)
def test_pages_are_copied_whole_and_at_once(pool, source, target, expected):
    copied = pool.copy_page(jnp.array(source), jnp.array(target))
    np.testing.assert_array_equal(found(copied, *range(NOWHERE)), found(pool, *expected))
    assert (copied.num_pages, copied.page_size) == (NOWHERE, 4)
