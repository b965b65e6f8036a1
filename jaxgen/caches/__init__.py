"""Floor 2: the KV caches. One protocol, one file each; `create` is the one place that picks by spec."""

import jax.numpy as jnp

from jaxgen.caches import dynamic, fixed, none
from jaxgen.caches.protocol import Cache
from jaxgen.spec import cache as specs
from jaxgen.spec.architecture import Architecture

_KINDS: dict[type, type[Cache]] = {
    specs.Fixed: fixed.FixedCache,
    specs.NoCache: none.Recompute,
    specs.Dynamic: dynamic.DynamicCache,
}


def kind(spec: specs.CacheSpec) -> type[Cache]:
    """The cache class that serves a spec; its class constants say what it allows."""
    return _KINDS[type(spec)]


def create(spec: specs.CacheSpec, architecture: Architecture, *, batch: int, capacity: int, dtype: jnp.dtype) -> Cache:
    """An empty cache for `batch` rows of up to `capacity` tokens, keys and values in `dtype`."""
    return kind(spec).create(spec, architecture, batch=batch, capacity=capacity, dtype=dtype)


__all__ = ["Cache", "create", "kind"]
