"""Seeded random weights of a model's true shapes: nothing to download, and the same numbers on every device and mesh.

Each number is a hash of its place, computed where it is needed: integers only, so that no backend and no sharding can
change it. jax.random was measured first: 124 million normals take 9 s with `rbg` and 4 s with `threefry2x32` on two CPU
cores, against 0.5 s here, and `rbg` differs between backends and shardings.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding
from jaxtyping import Array, Float, UInt32

from jaxgen.checkpoints.keeping import kept
from jaxgen.checkpoints.progress import Progress, silent
from jaxgen.models.structure import Leaves, Structure, structure_of
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.dtype import Int8

_STD = 0.02
_BYTES_STD = (4 * (256**2 - 1) / 12) ** 0.5  # of the sum of four uniform bytes


def random_leaves(
    structure: Structure,
    *,
    seed: int,
    dtype: str,
    sharding_of: Callable[[str], Sharding],
    progress: Progress = silent,
) -> Leaves:
    """Matrices nearly normal with a standard deviation of 0.02, norm scales one, biases zero.

    Args:
        structure: of the model; what it has in int8 is quantised from the float32 numbers.
        seed: with a parameter's name it decides its numbers, whatever the dtype is that they are rounded to.
        dtype: of the leaves that stay floating.
        sharding_of: where the parameter of a name goes.
        progress: told of each tensor.

    Returns:
        The leaves in the structure's order.
    """
    floating = structure_of(structure.architecture)
    made_as = dtype if structure.int8 is Int8.none else "float32"
    leaves: dict[str, jax.Array] = {}
    for name, shape in zip(floating.names, floating.shapes, strict=True):
        progress("random", len(leaves), len(structure.names))
        if name.endswith((".scale", ".bias")):
            leaves[name] = jax.device_put(
                np.full(shape, name.endswith(".scale"), dtype), sharding_of(name)
            )
        else:
            words = np.frombuffer(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], np.uint32)
            tensor = _near_normal(words, shape=shape, dtype=made_as, sharding=sharding_of(name))
            leaves |= kept(name, tensor, structure=structure, dtype=dtype, sharding_of=sharding_of)
    progress("random", len(leaves), len(structure.names))
    return tuple(jax.block_until_ready(leaves[name]) for name in structure.names)


def fingerprint(architecture: Architecture, seed: int) -> str:
    """Equal for equal random weights; it says that they are random. A window changes no weight."""
    shapes = {
        name: value for name, value in dataclasses.asdict(architecture).items() if name != "window"
    }
    text = json.dumps(shapes, sort_keys=True)
    return f"random:{seed}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@functools.partial(
    jax.jit, static_argnames=("shape", "dtype", "sharding")
)  # traced: words; one compile per shape
def _near_normal(
    words: UInt32[np.ndarray, " 2"], *, shape: tuple[int, ...], dtype: str, sharding: Sharding
) -> Float[Array, "..."]:
    """Hash each element's index with two words; the hash's four bytes, summed, are nearly normal (kurtosis 2.7)."""
    index = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        index = index * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    bits = _mixed(_mixed(index + words[0]) ^ words[1])
    total = sum((bits >> jnp.uint32(shift)) & jnp.uint32(255) for shift in (0, 8, 16, 24))
    values = (jnp.asarray(total, jnp.float32) - 510.0) * (_STD / _BYTES_STD)
    return jax.lax.with_sharding_constraint(values.astype(dtype), sharding)


def _mixed(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A bijection of 32-bit words in which every input bit moves every output bit (`lowbias32` of C. Wellons)."""
    x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> jnp.uint32(15))) * jnp.uint32(0x846CA68B)
    return x ^ (x >> jnp.uint32(16))
