"""Which cache serves which spec: the one place that picks, with one table."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.caches import buffers, dynamic, fixed, none, page_kernels, paged, two_regions
from jaxgen.caches.protocol import Cache
from jaxgen.caches.size import CacheSize
from jaxgen.specs import cache as specs
from jaxgen.specs.architecture import Architecture


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What serves a spec: a class, and the function that makes an empty cache of it."""

    cache: type[Cache]
    create: Callable[[Any, Architecture, CacheSize], Cache]


_KINDS: dict[type, _Kind] = {
    specs.Fixed: _Kind(fixed.FixedCache, fixed.create),
    specs.NoCache: _Kind(none.Recompute, none.create),
    specs.Dynamic: _Kind(dynamic.DynamicCache, dynamic.create),
    specs.Paged: _Kind(paged.PagedCache, paged.create),
}
# The spec's type does not tell this one, its `regions` do: hence it is no row of the table.
_TWO_REGIONS = _Kind(two_regions.RegionsCache, two_regions.create)


def kind(spec: specs.CacheSpec) -> type[Cache]:
    """Return the cache class that serves a spec; its class constants say what it allows."""
    return _kind_of(spec).cache


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
    """Return an empty cache.

    Args:
        spec: the cache as the run has it; its window is narrowed to the model's.
        architecture: of the model.
        batch: rows.
        capacity: tokens that a row has room for.
        dtype: of keys and values.
        needed: tokens that each row may come to hold, where that is known.
        prompt: tokens that the prompts are padded to; null is not known.

    Raises:
        UserError: the window is larger than the model's context, or there are too few pages.
    """
    size = CacheSize(
        batch=batch,
        capacity=capacity,
        dtype=dtype,
        needed=tuple(needed),
        prompt=prompt,
    )
    # A window that hides nothing is none: then it costs no mask and no ring.
    spec = specs.windowed(spec, architecture)
    return _kind_of(spec).create(spec, architecture, size)


def page_kernel(spec: specs.Paged, architecture: Architecture, dtype: jnp.dtype) -> str:
    """Return the name of what `cache.kernel` stands for on this machine and for this model."""
    # As `create` narrows it: a window decides whether the GPU kernel can serve.
    window = specs.windowed(spec, architecture).window
    narrowed = dataclasses.replace(spec, window=window)
    platform = jax.default_backend()
    return page_kernels.choose(narrowed, architecture, dtype=dtype, platform=platform).name


def kv_layout(spec: specs.Fixed, *, batch: int, dtype: jnp.dtype) -> str:
    """Return the name of what `cache.layout` stands for on this machine, with so many rows."""
    return buffers.choose_layout(spec.layout, batch=batch, dtype=dtype).name


def _kind_of(spec: specs.CacheSpec) -> _Kind:
    if specs.has_two_regions(spec):
        return _TWO_REGIONS
    return _KINDS[type(spec)]
