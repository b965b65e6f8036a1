"""The kernels that JAX ships against the plain reference, and which one is chosen where."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu import ragged_paged_attention as tpu_kernels
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from jaxgen.caches import paged
from jaxgen.caches.page_kernels import Blockwise, GpuKernel, Reference, TpuKernel, choose
from jaxgen.caches.paged import PagedCache
from jaxgen.caches.size import CacheSize
from jaxgen.errors import UserError
from jaxgen.machine.jax_compat import gpu_paged_attention_of_jax
from jaxgen.ops import gpu_paged_attention, tpu_paged_attention
from jaxgen.specs.cache import Paged, PageKernel
from support.small_models import FAMILIES

TOLERANCE = {
    "float32": 2e-6,
    "bfloat16": 3e-2,
}  # sums in another order; bfloat16 keeps 8 bits, of values up to 3


def architecture(**sizes):
    return dataclasses.replace(FAMILIES["llama"], **sizes)


SERVED = {"head_dim": 128, "num_heads": 8, "num_kv_heads": 4}


def chosen(asked, platform, *, page_size=16, dtype="float32", window=None, **sizes):
    given = architecture(**(SERVED | sizes))
    spec = Paged(kernel=asked, page_size=page_size, window=window)
    return choose(spec, given, dtype=jnp.dtype(dtype), platform=platform)


@pytest.mark.parametrize(
    ("platform", "sizes", "expected"),
    [
        ("cpu", {}, Blockwise()),
        ("gpu", {}, GpuKernel()),
        (
            "gpu",
            {"head_dim": 64, "num_heads": 14, "num_kv_heads": 2, "dtype": "float16"},
            GpuKernel(),
        ),
        ("gpu", {"head_dim": 80}, Reference()),
        ("tpu", {}, TpuKernel()),
        ("tpu", {"head_dim": 64}, Reference()),
    ],
    ids=str,
)
def test_auto_is_the_shipped_kernel_where_it_can_serve(platform, sizes, expected):
    assert chosen(PageKernel.auto, platform, **sizes) == expected
    assert chosen(PageKernel.reference, platform, **sizes) == Reference()
    assert chosen(PageKernel.blockwise, platform, **sizes) == Blockwise()


@pytest.mark.parametrize(
    ("platform", "sizes", "message"),
    [
        ("cpu", {}, "runs on GPU or TPU; this machine has cpu"),
        (
            "gpu",
            {"head_dim": 80},
            r"cannot serve this on GPU \(head_dim=80: only a power of two, 16 or more\)",
        ),
        ("gpu", {"head_dim": 8}, "head_dim=8: only a power of two, 16 or more"),
        ("gpu", {"head_dim": 1024}, "head_dim=1024: at most 512 in float32"),
        ("gpu", {"page_size": 24}, r"cache\.page_size=24: only a power of two"),
        ("gpu", {"page_size": 128}, r"cache\.page_size=128: at most 64 at head_dim=128"),
        ("gpu", {"window": 32}, "a window of 32: the kernel sees all positions"),
        ("gpu", {"dtype": "int8"}, r"dtype\.kv=int8: only float32, bfloat16, float16"),
        (
            "tpu",
            {"head_dim": 64},
            r"cannot serve this on TPU \(head_dim=64: only a multiple of 128\)",
        ),
        ("tpu", {"dtype": "float16"}, r"dtype\.kv=float16: only float32, bfloat16"),
        (
            "tpu",
            {"num_heads": 6, "num_kv_heads": 3, "head_dim": 64},
            "num_kv_heads=3: .* in float32; head_dim=64",
        ),
        (
            "tpu",
            {"num_heads": 8, "num_kv_heads": 8},
            "num_heads=8 over num_kv_heads=8: blocks of heads",
        ),
    ],
    ids=str,
)
def test_pallas_is_refused_with_the_limit_and_the_number(platform, sizes, message):
    with pytest.raises(UserError, match=message) as told:
        chosen(PageKernel.pallas, platform, **sizes)
    assert str(told.value).startswith("cache.kernel=pallas ")
    assert str(told.value).endswith(": cache.kernel=auto takes what works here")


def test_pallas_is_refused_when_the_cache_is_made():
    with pytest.raises(UserError, match="this machine has cpu"):
        paged.create(
            Paged(kernel=PageKernel.pallas),
            architecture(),
            CacheSize(batch=1, capacity=8, dtype=jnp.dtype("float32")),
        )


def filled(kernel, *, dtype, seed=0, **sizes):
    """Return three rows with 4 or 5 pages of 4 slots in any order, and what a call brings."""
    rng = np.random.default_rng(seed)
    arch = architecture(num_layers=1, **sizes)
    size = CacheSize(batch=3, capacity=20, dtype=jnp.dtype(dtype), needed=(16, 20, 20))
    made = paged.create(Paged(page_size=4), arch, size)
    layout = kernel.layout.empty(
        num_pages=16,
        page_size=4,
        num_kv_heads=arch.num_kv_heads,
        head_dim=arch.head_dim,
        dtype=dtype,
    )
    order = np.append(rng.permutation(16), 16).astype(np.int32)
    table = jnp.asarray(order[np.asarray(made.table)])

    def incoming(time):
        shapes = [
            (3, time, heads, arch.head_dim)
            for heads in (arch.num_heads, arch.num_kv_heads, arch.num_kv_heads)
        ]
        return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]

    return dataclasses.replace(made, pools=(layout,), table=table, kernel=kernel), incoming


@functools.cache
def contexts(kernel, **given):
    """Return the contexts of a prompt and of a step, and what the cache holds after them.

    The prompt has 13 tokens, of which the rows keep 1, 9 and 13.
    """
    cache, incoming = filled(kernel, **given)
    # Static: the layer. The TPU kernel's plain counterpart reads lengths on the host, and so cannot
    # be traced.
    attend = (
        PagedCache.attend
        if isinstance(kernel, TpuKernel)
        else jax.jit(PagedCache.attend, static_argnums=1)
    )
    found = []
    for time, counts in ((13, [1, 9, 13]), (1, [1, 1, 1])):
        context, cache = attend(cache, 0, *incoming(time))
        cache = cache.advance(jnp.array(counts))
        found.append(context)
    return found, cache.layer_kv(0)


def agree(kernel, dtype):
    given = {"dtype": dtype, "head_dim": 16, "num_heads": 6, "num_kv_heads": 2}
    (found, kept), (expected, expected_kept) = (
        contexts(each, **given) for each in (kernel, Reference(kernel.window))
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(
            *(np.asarray(each, np.float32) for each in (ours, theirs)), atol=TOLERANCE[dtype]
        )
    for ours, theirs in zip(kept, expected_kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_gpu_kernel_agrees_with_the_reference(dtype, monkeypatch):
    monkeypatch.setattr(gpu_paged_attention, "BLOCK_TOKENS", 4)  # 5 blocks of one page
    monkeypatch.setattr(
        gpu_paged_attention, "MAX_SPLITS", 3
    )  # in 3 parts of 2 blocks, one of padding
    agree(GpuKernel(interpret=True), dtype)


@pytest.mark.parametrize("window", [None, 5])
def test_the_tpu_kernel_is_called_so_that_its_own_reference_agrees_with_ours(window, monkeypatch):
    def plain(*given, num_kv_pages_per_block, num_queries_per_block, **named):
        return tpu_kernels.ref_ragged_paged_attention(*given, **named)

    monkeypatch.setattr(tpu_kernels, "ragged_paged_attention", plain)
    agree(TpuKernel(window), "float32")


def shape(*sizes, dtype="int32"):
    return jax.ShapeDtypeStruct(sizes, dtype)


@pytest.mark.parametrize(
    ("head_dim", "page_size", "dtype"),
    [
        (64, 16, "float32"),
        (128, 1, "bfloat16"),
        (512, 16, "float16"),
        (80, 16, "float32"),
        (64, 24, "bfloat16"),
    ],
    ids=str,
)
def test_what_the_gpu_kernel_is_said_to_serve_is_what_can_be_lowered_for_one(
    head_dim, page_size, dtype
):
    def step(q, pool, table, lengths):
        attend = gpu_paged_attention.gpu_paged_attention
        return attend(gpu_paged_attention_of_jax(), q, pool, pool, table=table, lengths=lengths)

    pool = shape(2, 37, page_size, head_dim, dtype=dtype)
    queries = shape(3, 6, head_dim, dtype="float32")
    problems = gpu_paged_attention.obstacles(
        head_dim=head_dim, page_size=page_size, dtype=jnp.dtype(dtype)
    )
    # From jax 0.11 on, a kernel is lowered for a device of a kind that jax knows.
    device = AbstractDevice(device_kind="NVIDIA H100", num_cores=132, platform="gpu")
    with use_abstract_mesh(AbstractMesh((1,), ("x",), abstract_device=device)):
        traced = jax.jit(step).trace(queries, pool, shape(3, 21), shape(3))
        if any(problems):
            with pytest.raises(ValueError, match="power of 2"):
                traced.lower(lowering_platforms=("cuda",))
        else:
            assert "triton" in traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("time", [1, 40], ids="{} queries".format)
@pytest.mark.parametrize(
    ("num_heads", "num_kv_heads", "head_dim", "dtype"),
    [
        (14, 2, 128, "bfloat16"),
        (8, 4, 256, "float32"),
        (8, 8, 128, "float32"),
        (6, 3, 128, "float32"),
        (4, 2, 64, "float32"),
    ],
    ids=str,
)
def test_what_the_tpu_kernel_is_said_to_serve_is_what_can_be_lowered_for_one(
    num_heads, num_kv_heads, head_dim, dtype, time
):
    def step(q, pages, table, lengths):
        attend = tpu_paged_attention.ragged_paged_attention
        return attend(tpu_kernels.ragged_paged_attention, q, pages, table=table, lengths=lengths)

    sizes = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
    pages = shape(37, 16, 2 * num_kv_heads, head_dim, dtype=dtype)
    given = (shape(3, time, num_heads, head_dim, dtype="float32"), pages, shape(3, 21), shape(3))
    device = AbstractDevice(device_kind="TPU v5 lite", num_cores=1, platform="tpu")
    with use_abstract_mesh(AbstractMesh((1,), ("x",), abstract_device=device)):
        if any(tpu_paged_attention.obstacles(**sizes, dtype=jnp.dtype(dtype))):
            with pytest.raises((AssertionError, ValueError)):
                jax.jit(step).trace(*given).lower(lowering_platforms=("tpu",))
        else:
            assert (
                "tpu_custom_call"
                in jax.jit(step).trace(*given).lower(lowering_platforms=("tpu",)).as_text()
            )
