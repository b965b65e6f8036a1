"""An arm's float32 shadow: its algorithm and its weights, without the rounding of its dtypes.

In bfloat16 rounding moves log-probabilities by 0.1, and many a wrong mask by less. The same cache,
layout and programs in float32 leave rounding of 1e-5: whatever else the arms differ by shows.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.caches.buffers import choose_layout
from jaxgen.engine.engine import Engine
from jaxgen.models.sharding import on_host, put_sharded
from jaxgen.models.structure import Leaves, Structure, structure_of
from jaxgen.specs.cache import CacheSpec, Fixed
from jaxgen.specs.dtype import Dtype, Int8


def shadow_of(engine: Engine, *, weights: tuple[Structure, Leaves] | None = None) -> Engine:
    """Return an engine that computes in float32 what another one computes in its own dtypes.

    Floating weights are used as they are stored: every product widens them as it reads them. int8
    weights become the float32 numbers that they stand for.

    Args:
        engine: of the arm.
        weights: the structure and the leaves to use; null takes the engine's own.
    """
    structure, leaves = weights or (engine.blueprint.structure, engine.leaves)
    if structure.int8 is not Int8.none:
        structure, leaves = _dequantised(structure, leaves, engine)
    # The leaves stay as they are; their products are computed in float32.
    run = dataclasses.replace(engine.run, dtype=Dtype(), cache=_with_layout(engine))
    # The mesh's layout is the engine's own, which it finds again.
    return type(engine)(run, dataclasses.replace(structure, layout=None), leaves)


def _with_layout(engine: Engine) -> CacheSpec:
    """Return the cache in the layout that it has in the arm's own dtype, which `auto` goes by."""
    cache = engine.run.cache
    if not isinstance(cache, Fixed):
        return cache
    layout = choose_layout(
        cache.layout,
        batch=engine.generation.batch_size,
        dtype=jnp.dtype(engine.run.dtype.kv.value),
    )
    return dataclasses.replace(cache, layout=layout)


def _dequantised(structure: Structure, leaves: Leaves, engine: Engine) -> tuple[Structure, Leaves]:
    """Return the structure without int8, and the float32 weights that int8 ones stand for."""
    by_name = dict(zip(structure.names, leaves, strict=True))
    plain = structure_of(structure.architecture)
    widened = []
    for name in plain.names:
        rows = by_name.get(f"{name}_rows")
        if rows is not None:
            # A kernel is (in, out), its int8 rows are (out, in).
            host = _wide(rows, by_name[f"{name}_scale"]).T
        elif f"{name}_scale" in by_name:
            host = _wide(by_name[name], by_name[f"{name}_scale"])
        else:
            widened.append(by_name[name])
            continue
        widened.append(_placed(host, name, like=leaves[0], engine=engine))
    return plain, tuple(widened)


def _wide(rows: jax.Array, scales: jax.Array) -> np.ndarray:
    """Return int8 rows times the scale of each, float32."""
    numbers = on_host(rows).astype(np.float32)
    return numbers * on_host(scales)[:, None]


def _placed(host: np.ndarray, name: str, *, like: jax.Array, engine: Engine) -> jax.Array:
    """Put a weight on the device, or on the mesh where the parameter of its name goes."""
    sharding = engine.layout.weight(name) if engine.layout else like.sharding
    return put_sharded(np.ascontiguousarray(host), sharding)
