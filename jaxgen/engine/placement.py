"""What an engine puts on its devices before any clock: empty caches, each part of them made where it belongs."""

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
from jaxgen.specs.cache import CacheSpec, Paged, PageKernel, windowed


def served(spec: CacheSpec, architecture: Architecture, layout: Layout | None) -> CacheSpec:
    """The cache as a model on its mesh can have it: its window narrowed to the model's, and pages read without the
    kernels that JAX ships, which GSPMD cannot cut.

    Raises:
        UserError: the window is larger than the model's context.
    """
    spec = windowed(spec, architecture)
    if layout is None or not isinstance(spec, Paged) or spec.kernel is not PageKernel.auto:
        return spec
    on_cpu = jax.default_backend() == "cpu"
    return dataclasses.replace(
        spec, kernel=PageKernel.blockwise if on_cpu else PageKernel.reference
    )


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
    """An empty cache of a model, as `caches.create` has it."""
    architecture, layout = structure.architecture, structure.layout
    sizes = {"batch": batch, "capacity": capacity, "dtype": jnp.dtype(dtype), "prompt": prompt}
    if layout is None:
        return caches.create(spec, architecture, needed=needed, **sizes)
    return _made(layout, spec, architecture, needed=tuple(needed), **sizes)


def moved(leaves: list[jax.Array]) -> Leaves:
    """Copies in fresh buffers, made one leaf at a time: the list lets go of each as soon as its copy is there."""
    for number, leaf in enumerate(leaves):
        leaves[number] = jax.block_until_ready(jnp.copy(leaf))
    return tuple(leaves)


@functools.partial(
    jax.jit,
    static_argnums=(0, 1, 2),
    static_argnames=("batch", "capacity", "dtype", "needed", "prompt"),
)
def _made(layout: Layout, spec: CacheSpec, architecture: Architecture, **sizes) -> Cache:
    """All of it static: made whole on one device and then shared out, it might not fit there."""
    return layout.kept(caches.create(spec, architecture, **sizes))
