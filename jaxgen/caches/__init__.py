"""Floor 2: the KV caches. One protocol, one file each; `create` is the one place that picks by spec."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxgen.caches import buffers, dynamic, fixed, none, page_kernels, paged, two_regions
from jaxgen.caches.protocol import Cache
from jaxgen.specs import cache as specs
from jaxgen.specs.architecture import Architecture

_KINDS: dict[type, type[Cache]] = {
    specs.Fixed: fixed.FixedCache,
    specs.NoCache: none.Recompute,
    specs.Dynamic: dynamic.DynamicCache,
    specs.Paged: paged.PagedCache,
}


def kind(spec: specs.CacheSpec) -> type[Cache]:
    """The cache class that serves a spec; its class constants say what it allows."""
    if isinstance(spec, specs.Fixed) and spec.regions == 2:
        return two_regions.RegionsCache
    return _KINDS[type(spec)]


def create(
    spec: specs.CacheSpec,
    architecture: Architecture,
    *,
    batch: int,
    capacity: int,
    dtype: jnp.dtype,
    needed: Sequence[int] = (),
    prompt: int | None = None,
) -> Cache:
    """An empty cache for `batch` rows of up to `capacity` tokens, keys and values in `dtype`.

    Args:
        spec: its window is narrowed to the model's.
        needed: tokens that each row may come to hold, where that is known and the kind can make use of it.
        prompt: what the prompts are padded to, of use to a kind that keeps them apart; null is not known.

    Raises:
        UserError: the window is larger than the model's context, or there are too few pages.
    """
    spec = specs.windowed(spec, architecture)
    if isinstance(spec, specs.Fixed) and spec.regions == 2:
        return two_regions.RegionsCache.create(
            spec, architecture, batch=batch, capacity=capacity, dtype=dtype, prompt=prompt
        )
    return kind(spec).create(
        spec, architecture, batch=batch, capacity=capacity, dtype=dtype, needed=needed
    )


def page_kernel(spec: specs.Paged, architecture: Architecture, dtype: jnp.dtype) -> str:
    """What `cache.kernel` stands for on this machine and for this model."""
    whole = dataclasses.replace(spec, window=specs.windowed(spec, architecture).window)
    return page_kernels.choose(
        whole, architecture, dtype=dtype, platform=jax.default_backend()
    ).name


def kv_layout(spec: specs.Fixed, *, batch: int, dtype: jnp.dtype) -> str:
    """What `cache.layout` stands for on this machine, with so many rows in `dtype`."""
    return buffers.chosen(spec.layout, batch=batch, dtype=dtype).name


__all__ = ["Cache", "create", "kind", "kv_layout", "page_kernel"]
