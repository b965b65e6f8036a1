"""Reads a checkpoint's arrays onto devices: straight into their shardings, verified, and in the dtype asked for."""

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from jaxgen.checkpoints import manifest, orbax_files
from jaxgen.checkpoints.keeping import kept
from jaxgen.checkpoints.manifest import Stored
from jaxgen.checkpoints.orbax_files import OrbaxError
from jaxgen.checkpoints.progress import Progress
from jaxgen.errors import UserError
from jaxgen.models.structure import Leaves, Structure
from jaxgen.specs.dtype import Int8

PART_BYTES = 64 * 2**20
"""Read at a time, as stored: what loading needs beside the leaves. A call of Orbax costs some 20 ms."""


def restored_leaves(
    stored: Stored,
    structure: Structure,
    *,
    dtype: str,
    sharding_of: Callable[[str], Sharding],
    verify: bool,
    progress: Progress,
) -> Leaves:
    """The leaves of a checkpoint whose tensors fit the structure, in the structure's order.

    Tensors are read in parts of `PART_BYTES`, so that what is verified as it is stored, or quantised, never stands in
    memory whole before it is cast or narrowed. Without verification Orbax casts while it reads.

    Args:
        stored: what was read of the checkpoint so far.
        structure: what the leaves belong to.
        dtype: of the leaves that stay floating.
        sharding_of: where the parameter of a name goes.
        verify: compare each tensor's sha256 with the one taken at conversion.
        progress: told of each tensor.

    Raises:
        UserError: arrays that cannot be read, whose bytes have changed, or that float16 cannot hold.
    """
    wanted = np.dtype(jnp.dtype(dtype))
    whole = (
        verify or structure.int8 is not Int8.none
    )  # what is quantised is quantised from what is stored
    read_as = {name: stored.dtypes[name] if whole else wanted for name in stored.shapes}
    leaves: dict[str, jax.Array] = {}
    changed, overflown, done = [], [], 0
    for part in _parts(stored):
        progress("restore", done, len(stored.shapes))
        tensors = _read(stored, {name: read_as[name] for name in part}, sharding_of)
        for name in part:
            tensor = tensors.pop(name)
            if verify and manifest.digest(_on_host(tensor)) != stored.manifest.sha256.get(name):
                changed.append(name)
            found = kept(name, tensor, structure=structure, dtype=dtype, sharding_of=sharding_of)
            if dtype == "float16" and stored.dtypes[name] != wanted and not _all_finite(found):
                overflown.append(name)
            leaves |= found
            done += 1
            progress("restore", done, len(stored.shapes))
        jax.block_until_ready(
            list(leaves.values())
        )  # or the next part would be read beside this one
        _give_back()
    _refuse(stored, changed, overflown)
    return tuple(leaves[name] for name in structure.names)


def _parts(stored: Stored) -> Iterator[list[str]]:
    """The tensors' names, as many at a time as `PART_BYTES` hold, one at least."""
    part: list[str] = []
    left = PART_BYTES
    for name in stored.shapes:
        nbytes = stored.nbytes_of(name)
        if part and nbytes > left:
            yield part
            part, left = [], PART_BYTES
        part.append(name)
        left -= nbytes
    if part:
        yield part


def _give_back() -> None:
    """What reading a part took, to the system: glibc would keep it for later, twice the leaves of an int8 model."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _all_finite(leaves: Mapping[str, jax.Array]) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in leaves.values())


def _refuse(stored: Stored, changed: list[str], overflown: list[str]) -> None:
    if changed:
        named = manifest.listed(changed)
        raise UserError(
            f"{stored.folder} is damaged: other bytes than were written in {named}; {manifest.REMEDY}"
        )
    if overflown:
        named = manifest.listed(overflown)
        raise UserError(
            f"dtype.weights=float16 cannot hold {named} of {stored.folder}; use bfloat16 or float32"
        )


def _read(
    stored: Stored, dtypes: dict[str, np.dtype], sharding_of: Callable[[str], Sharding]
) -> dict[str, jax.Array]:
    target = {
        name: jax.ShapeDtypeStruct(stored.shapes[name], dtype, sharding=sharding_of(name))
        for name, dtype in dtypes.items()
    }
    try:
        return orbax_files.load(stored.folder, target)
    except OrbaxError as error:
        raise UserError(
            f"{stored.folder} is damaged: its arrays cannot be read; {manifest.REMEDY}"
        ) from error


def _on_host(leaf: jax.Array) -> np.ndarray:
    """All of an array, of copies: an array remembers its host copy, which would keep the whole model in host memory.

    One in parts is put together part by part: on a CPU a copy of it all beside that would be one copy too many.
    """
    if leaf.is_fully_replicated:
        return np.asarray(jnp.copy(leaf.addressable_shards[0].data))
    if not leaf.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    whole = np.empty(leaf.shape, leaf.dtype)
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            whole[shard.index] = np.asarray(jnp.copy(shard.data))
    return whole
