"""What an engine puts on its devices before any clock: empty caches, and copies of the weights."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxgen import caches
from jaxgen.caches.protocol import Cache
from jaxgen.models.sharding import Layout
from jaxgen.models.structure import Leaves, Structure
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import (
    CacheSpec,
    Paged,
    PageKernel,
    windowed,
)


def resolve_cache_spec(
    spec: CacheSpec,
    architecture: Architecture,
    layout: Layout | None,
) -> CacheSpec:
    """Return the cache as a model on its mesh can have it: its window is narrowed to the model's.

    Args:
        spec: as the user gave it.
        architecture: of the model.
        layout: of the mesh; null on a single device.

    Raises:
        UserError: the window is larger than the model's context.
    """
    spec = windowed(spec, architecture)
    if layout is None or not isinstance(spec, Paged) or spec.kernel is not PageKernel.auto:
        return spec
    # GSPMD cannot partition the kernels that JAX ships, so a mesh reads pages without them.
    on_cpu = jax.default_backend() == "cpu"
    kernel = PageKernel.blockwise if on_cpu else PageKernel.reference
    return dataclasses.replace(spec, kernel=kernel)


def with_full_pool(spec: CacheSpec) -> CacheSpec:
    """Return the cache with as many pages as full rows need, whatever the run's own pool has."""
    if isinstance(spec, Paged):
        return dataclasses.replace(spec, num_pages=None)
    return spec


def empty_cache(
    spec: CacheSpec,
    structure: Structure,
    *,
    batch: int,
    capacity: int,
    dtype: str,
    needed: Sequence[int] = (),
    prompt: int | None = None,
) -> Cache:
    """Return an empty cache of a model on its devices.

    Args:
        spec: as `resolve_cache_spec` has it.
        structure: of the model, with its layout.
        batch: rows.
        capacity: slots of a row.
        dtype: of keys and values.
        needed: tokens that each row may come to hold, where that is known.
        prompt: what the prompts are padded to; null is not known.

    Raises:
        UserError: there are too few pages.
    """
    architecture = structure.architecture
    layout = structure.layout
    sizes = {
        "batch": batch,
        "capacity": capacity,
        "dtype": jnp.dtype(dtype),
        "prompt": prompt,
    }
    # On a single device every array is made where it belongs.
    if layout is None:
        return caches.create(spec, architecture, needed=needed, **sizes)
    return _sharded_cache(
        layout,
        spec,
        architecture,
        needed=tuple(needed),
        **sizes,
    )


def copy_leaves(leaves: list[jax.Array]) -> Leaves:
    """Copy the leaves into fresh buffers and return the copies.

    Args:
        leaves: its entries are replaced one at a time, so that only one leaf exists twice.
    """
    for number, leaf in enumerate(leaves):
        # Waited for before the next copy begins: else all copies would exist at once.
        leaves[number] = jax.block_until_ready(jnp.copy(leaf))
    return tuple(leaves)


# Static: all of it, the sizes included; nothing is traced. A cache that was made on one device and
# partitioned afterwards might not fit there.
@functools.partial(
    jax.jit,
    static_argnums=(0, 1, 2),
    static_argnames=(
        "batch",
        "capacity",
        "dtype",
        "needed",
        "prompt",
    ),
)
def _sharded_cache(
    layout: Layout,
    spec: CacheSpec,
    architecture: Architecture,
    **sizes,
) -> Cache:
    """An empty cache whose parts are made on the devices that hold them."""
    return layout.constrain(caches.create(spec, architecture, **sizes))
