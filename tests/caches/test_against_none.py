"""Every cache of every family against the whole text run at once, and the protocol's promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import caches
from jaxgen.caches.none import Recompute
from jaxgen.specs.cache import Dynamic, Fixed, NoCache
from support.small_models import (
    CACHES,
    DEEP_FAMILIES,
    FAMILIES,
    NEW_TOKENS,
    PROMPTS,
    forward,
    padded,
    step_logits,
    weights,
)

# Logits have a standard deviation of 2 to 4; reordered float32 sums through three layers moved one
# by 1e-5 at most. The closest two tokens on a greedy path are 500 times farther apart, as a test
# below asserts.
ROUNDING = 1e-4
NEAR_TIE = 5e-2
MIN_KINDS = 10  # of token among the new ones: a model stuck on a few would hide a wrong cache
LONGEST = max(map(len, PROMPTS))


@pytest.fixture(scope="module", params=DEEP_FAMILIES)
def family(request):
    """Return a family's name, its greedy tokens without a cache, and the logits at each of them.

    The tokens come from the growing prefix, the logits from the finished texts, run once from end
    to end.
    """
    structure, leaves = weights(DEEP_FAMILIES[request.param])
    tokens = step_logits(structure, leaves, NoCache(), PROMPTS, count=NEW_TOKENS).argmax(-1)
    texts = padded(
        [[*prompt, *new] for prompt, new in zip(PROMPTS, tokens, strict=True)],
        width=LONGEST + NEW_TOKENS,
    )
    batch, width = texts.shape
    nothing = Recompute(batch=batch, visible=width, static_shape=False)
    logits, _ = forward(leaves, nothing, jnp.asarray(texts), structure=structure)
    at = np.array([[len(prompt)] for prompt in PROMPTS]) - 1 + np.arange(NEW_TOKENS)
    return request.param, tokens, np.take_along_axis(np.asarray(logits), at[:, :, None], axis=1)


# Others of their kinds are tested with all families.
ONE_FAMILY = ("none", "none_padded", "fixed_unsliced")


@pytest.mark.parametrize(
    ("family", "name"),
    [
        (which, name)
        for which in DEEP_FAMILIES
        for name in CACHES
        if which == "llama" or name not in ONE_FAMILY
    ],
    indirect=["family"],
)
def test_every_cache_agrees_with_none_at_every_step(family, name):
    family_name, tokens, logits = family
    structure, leaves = weights(DEEP_FAMILIES[family_name])
    actual = step_logits(structure, leaves, CACHES[name], PROMPTS, count=NEW_TOKENS)
    np.testing.assert_array_equal(actual.argmax(-1), tokens)
    np.testing.assert_allclose(actual, logits, rtol=0, atol=ROUNDING)


def test_the_greedy_paths_are_varied_and_free_of_near_ties(family):
    _, tokens, logits = family
    best = np.sort(logits, axis=-1)[..., -2:]
    assert (best[..., 1] - best[..., 0]).min() > NEAR_TIE
    assert len(np.unique(tokens)) >= MIN_KINDS


@pytest.mark.parametrize("name", ["fixed", "dynamic"])
def test_the_index_moves_in_advance_alone(name):
    architecture = DEEP_FAMILIES["qwen2"]
    cache = caches.create(
        CACHES[name], architecture, batch=2, capacity=6, dtype=jnp.dtype("float32")
    )
    q = jnp.ones((2, 3, architecture.num_heads, architecture.head_dim))
    kv = q[:, :, : architecture.num_kv_heads]
    written = cache
    for layer in range(architecture.num_layers):
        _, written = written.attend(layer, q, kv, kv)
        np.testing.assert_array_equal(written.positions(2), [[0, 1], [0, 1]])
    moved = written.advance(jnp.array([3, 1]))
    np.testing.assert_array_equal(moved.positions(2), [[3, 4], [1, 2]])
    np.testing.assert_array_equal(cache.lengths, [0, 0])


@pytest.mark.parametrize("name", CACHES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keys_and_values_are_kept_in_the_cache_s_dtype(name, dtype):
    architecture = FAMILIES["qwen2"]
    cache = caches.create(
        CACHES[name], architecture, batch=2, capacity=6, dtype=jnp.dtype(dtype)
    ).with_depth(3)
    q = jnp.ones((2, 3, architecture.num_heads, architecture.head_dim))
    kv = q[:, :, : architecture.num_kv_heads]
    _, written = cache.attend(0, q, kv, kv)
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(written)]
    assert all(kind == dtype for kind in dtypes if jnp.issubdtype(kind, jnp.floating))


FIXED, UNSLICED = Fixed(bucket=128), Fixed(bucket=0)


@pytest.mark.parametrize(
    ("spec", "needed", "slots"),
    [
        (FIXED, 1, 128),
        (FIXED, 128, 128),
        (FIXED, 129, 256),
        (FIXED, 600, 640),
        (UNSLICED, 17, 17),
        (Fixed(max_len=1000), 17, 1000),
        (Fixed(max_len=16), 17, 16),  # too small, which `capacity_for` refuses
        (Dynamic(), 17, 17),
        (NoCache(), 17, 17),
        (NoCache(pad=True), 17, 17),
    ],
    ids=str,
)
def test_capacity(spec, needed, slots):
    assert spec.capacity(needed) == slots


@pytest.mark.parametrize(
    ("spec", "needed", "slots"),
    [
        (FIXED, 1, 128),
        (FIXED, 128, 128),
        (FIXED, 129, 256),
        (FIXED, 257, 512),
        (FIXED, 300, 512),
        (FIXED, 512, 512),
        (FIXED, 513, 1000),
        (Fixed(bucket=3), 7, 12),
        (UNSLICED, 1, 1000),
        (Dynamic(), 17, 17),
        (NoCache(), 17, 17),
        (NoCache(pad=True), 17, 1000),
    ],
    ids=str,
)
def test_depth_of_a_step_in_a_cache_of_1000(spec, needed, slots):
    assert spec.depth(needed, 1000) == slots


@pytest.mark.parametrize("spec", [FIXED, UNSLICED, Fixed(bucket=1), Fixed(bucket=7)], ids=str)
def test_a_step_sees_all_it_needs_through_few_depths(spec):
    depths = [spec.depth(needed, 1000) for needed in range(1, 1001)]
    assert all(needed <= depth <= 1000 for needed, depth in enumerate(depths, 1))
    assert depths == sorted(depths)
    assert len(set(depths)) <= 11  # doubling from 1 to 1000


@pytest.mark.parametrize(
    ("spec", "longest", "width"),
    [
        (FIXED, 1, 16),
        (FIXED, 16, 16),
        (FIXED, 17, 32),
        (FIXED, 995, 1000),
        (UNSLICED, 17, 32),
        (Dynamic(), 17, 17),
        (NoCache(), 17, 17),
        (NoCache(pad=True), 17, 1000),
    ],
    ids=str,
)
def test_width_of_prompts_in_a_cache_of_1000(spec, longest, width):
    assert spec.prompt_width(longest, 1000) == width
