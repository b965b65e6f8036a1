"""Pages: who has them, what is refused when they run out, and attention through tables."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import caches
from jaxgen.caches.page_allocator import PageAllocator
from jaxgen.caches.page_kernels import Blockwise, GpuKernel, Reference
from jaxgen.errors import UserError
from jaxgen.ops.attention import attention, causal_mask
from jaxgen.ops.paged_attention import blockwise_attention, gather_attention
from jaxgen.specs.cache import Paged
from support import small_models
from support.small_models import FAMILIES, PROMPTS


class TestAllocator:
    def test_page_0_is_nobody_s(self):
        pages = PageAllocator(4)
        assert pages.free == 3
        assert sorted(pages.allocate(3)) == [1, 2, 3]
        assert pages.free == 0

    def test_too_many_are_refused_and_none_is_taken(self):
        pages = PageAllocator(4)
        with pytest.raises(UserError, match=r"needs 4 pages, 3 free: raise cache\.num_pages"):
            pages.allocate(4)
        assert pages.free == 3

    def test_a_shared_page_is_free_when_its_last_owner_lets_go(self):
        pages = PageAllocator(3)
        (first,) = pages.allocate(1)
        pages.share([first])
        assert pages.owners(first) == 2
        pages.release([first])
        assert (pages.owners(first), pages.free) == (1, 1)
        pages.release([first])
        assert (pages.owners(first), pages.free) == (0, 2)

    @pytest.mark.parametrize("page", [0, 2])
    def test_what_nobody_has_cannot_be_released_or_shared(self, page):
        pages = PageAllocator(3)
        pages.allocate(1)
        for change in (pages.release, pages.share):
            with pytest.raises(ValueError, match="belongs to nobody"):
                change([page])

    def test_no_page_is_ever_two_owners_own(self):
        rng, pages, held = np.random.default_rng(0), PageAllocator(20), []
        for _ in range(300):
            if rng.random() < 0.5 and pages.free:
                held.append(pages.allocate(int(rng.integers(1, pages.free + 1))))
            elif held:
                pages.release(held.pop(int(rng.integers(len(held)))))
            taken = [page for each in held for page in each]
            assert len(set(taken)) == len(taken) == 19 - pages.free


def random_pool(rng, *, pages=9, size=4, kv_heads=2, dim=8):
    shape = (kv_heads, pages, size, dim)
    return tuple(jnp.asarray(rng.standard_normal(shape), jnp.float32) for _ in range(2))


@pytest.mark.parametrize("time", [1, 3])
def test_attention_through_a_table_is_that_over_the_same_keys_side_by_side(time):
    rng = np.random.default_rng(1)
    keys, values = random_pool(rng)
    table = jnp.asarray([[5, 2, 7, 1], [3, 8, 4, 9]])  # 9 is in no pool
    positions = jnp.asarray([[9], [10]]) + jnp.arange(time)[None, :]
    q = jnp.asarray(rng.standard_normal((2, time, 4, 8)), jnp.float32)
    k, v = (
        np.stack(
            [
                np.concatenate([np.moveaxis(pool[:, page], 0, 1) for page in row])
                for row in ((5, 2, 7, 1), (3, 8, 4, 8))
            ]
        )
        for pool in map(np.asarray, (keys, values))
    )
    slots = jnp.broadcast_to(jnp.arange(16), (2, 16))
    expected = attention(q, jnp.asarray(k), jnp.asarray(v), causal_mask(positions, slots))
    given = gather_attention(q, keys, values, table=table, positions=positions)
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)
    for pages in (1, 2, 4):
        block = blockwise_attention(q, keys, values, table=table, positions=positions, pages=pages)
        np.testing.assert_allclose(block, expected, rtol=0, atol=1e-6)


def test_large_scores_do_not_overflow_block_by_block():
    rng = np.random.default_rng(2)
    keys, values = random_pool(rng)
    q = 1000 * jnp.asarray(rng.standard_normal((1, 1, 4, 8)), jnp.float32)
    given = {"table": jnp.asarray([[1, 2, 3, 4]]), "positions": jnp.asarray([[15]])}
    expected = gather_attention(q, keys, values, **given)
    np.testing.assert_allclose(
        blockwise_attention(q, keys, values, pages=1, **given), expected, rtol=0, atol=1e-5
    )


def create(spec, *, batch=2, capacity=8, needed=()):
    return caches.create(
        spec,
        FAMILIES["qwen2"],
        batch=batch,
        capacity=capacity,
        dtype=jnp.dtype("float32"),
        needed=needed,
    )


class TestCreate:
    def test_a_row_has_the_pages_that_its_own_length_needs(self):
        cache = create(Paged(page_size=2, num_pages=8), needed=[3, 8])
        np.testing.assert_array_equal(cache.table, [[1, 2, 8, 8], [3, 4, 5, 6]])

    def test_ragged_rows_fit_a_pool_that_is_too_small_for_full_ones(self):
        spec = Paged(page_size=2, num_pages=8)
        create(spec, needed=[3, 8])
        with pytest.raises(UserError, match="needs 8 pages, 7 free"):
            create(spec)

    def test_without_a_number_every_row_can_be_full(self):
        assert create(Paged(page_size=2)).pools[0].num_pages == 2 * 4 + 1


def test_a_write_beyond_a_row_s_pages_touches_nobody_else_s():
    cache = create(Paged(page_size=2, num_pages=8), needed=[2, 8])
    ones = jnp.ones((2, 6, 2, 10))
    _, written = cache.attend(0, jnp.ones((2, 6, 4, 10)), ones, ones)
    filled = np.asarray(written.pools[0].keys).any(axis=(0, 3))  # page, slot
    assert filled[1].all()  # the first row's only page
    assert filled[2:5].all()  # six of the second row's eight slots
    assert not filled[[0, 5, 6, 7]].any()


def test_a_pool_that_holds_the_ragged_rows_and_no_more_gives_the_same_tokens():
    roomy, tight = (
        Paged(page_size=2, bucket=2),
        Paged(page_size=2, bucket=2, num_pages=4 + 5 + 5 + 1),
    )
    expected = small_models.tokens(small_models.engine(small_models.run(cache=roomy)))
    assert small_models.tokens(small_models.engine(small_models.run(cache=tight))) == expected
    too_tight = dataclasses.replace(tight, num_pages=14)
    with pytest.raises(UserError, match="needs 14 pages, 13 free"):
        small_models.tokens(small_models.engine(small_models.run(cache=too_tight)), PROMPTS)


@pytest.mark.parametrize("kernel", [Reference(), Blockwise(), GpuKernel(interpret=True)], ids=str)
def test_every_kernel_gives_the_tokens_of_the_fixed_cache_over_many_blocks(kernel, monkeypatch):
    monkeypatch.setattr("jaxgen.caches.page_kernels.BLOCK_TOKENS", 4)
    monkeypatch.setattr("jaxgen.ops.gpu_paged_attention.BLOCK_TOKENS", 8)
    monkeypatch.setattr("jaxgen.caches.page_kernels.choose", lambda *_, **__: kernel)
    prompts = [[(7 * n) % 97 for n in range(20)], [3, 1, 4]]
    given = {"batch_size": 2, "max_new_tokens": 12}
    expected = small_models.tokens(small_models.engine(small_models.run(**given)), prompts)
    spec = Paged(page_size=2, bucket=4)
    assert (
        small_models.tokens(small_models.engine(small_models.run(cache=spec, **given)), prompts)
        == expected
    )
