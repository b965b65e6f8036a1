"""Reads a checkpoint's arrays onto devices: straight into their shardings, verified, and cast."""

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from jaxgen.checkpoints import manifest, orbax_files
from jaxgen.checkpoints.manifest import Stored
from jaxgen.checkpoints.orbax_files import OrbaxError
from jaxgen.checkpoints.progress import Progress
from jaxgen.checkpoints.tensor_leaves import as_leaves
from jaxgen.errors import UserError
from jaxgen.models.structure import Leaves, Structure
from jaxgen.specs.dtype import Int8

PART_BYTES = 64 * 2**20
"""Bytes that are read at a time, as stored: what loading needs beside the leaves. A call of Orbax
costs some 20 ms."""


def restored_leaves(
    stored: Stored,
    structure: Structure,
    *,
    dtype: str,
    sharding_of: Callable[[str], Sharding],
    verify: bool,
    progress: Progress,
) -> Leaves:
    """Return the leaves of a checkpoint whose tensors fit the structure, in the structure's order.

    Tensors are read in parts of `PART_BYTES`, so that what is verified as it is stored, or
    quantised, never stands in memory whole before it is cast or narrowed. Without verification
    Orbax casts while it reads.

    Args:
        stored: what was read of the checkpoint so far.
        structure: what the leaves belong to.
        dtype: of the leaves that stay floating.
        sharding_of: where the parameter of a name goes.
        verify: compare each tensor's sha256 with the one taken at conversion.
        progress: called for each tensor.

    Raises:
        UserError: arrays that cannot be read, have changed, or do not fit float16.
    """
    leaves: dict[str, jax.Array] = {}
    changed, overflown = [], []
    done, total = 0, len(stored.shapes)
    # Hashes are of what is stored, and what is quantised is quantised from that.
    reads_as_stored = verify or structure.int8 is not Int8.none
    for part in _parts(stored):
        progress("restore", done, total)
        tensors = _read(stored, part, None if reads_as_stored else dtype, sharding_of)
        for name in part:
            # Out of the dictionary: a tensor is freed as soon as its leaves are there.
            tensor = tensors.pop(name)
            if verify and _is_changed(stored, name, tensor):
                changed.append(name)
            new = as_leaves(
                name,
                tensor,
                structure=structure,
                dtype=dtype,
                sharding_of=sharding_of,
            )
            if _overflows(stored, name, new, dtype=dtype):
                overflown.append(name)
            leaves |= new
            done += 1
            progress("restore", done, total)
        # Else the next part would be read beside this one.
        jax.block_until_ready(list(leaves.values()))
        _trim_host_memory()
    _refuse(stored, changed, overflown)
    return tuple(leaves[name] for name in structure.names)


def _parts(stored: Stored) -> Iterator[list[str]]:
    """Yield the tensors' names, as many at a time as `PART_BYTES` hold, one at least."""
    part: list[str] = []
    left = PART_BYTES
    for name in stored.shapes:
        nbytes = stored.nbytes_of(name)
        # A tensor beyond the whole budget makes a part by itself.
        if part and nbytes > left:
            yield part
            part, left = [], PART_BYTES
        part.append(name)
        left -= nbytes
    if part:
        yield part


def _trim_host_memory() -> None:
    """Return to the system what reading a part took.

    glibc would keep it for later, twice the leaves of an int8 model.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _is_changed(stored: Stored, name: str, tensor: jax.Array) -> bool:
    digest = manifest.digest(_on_host(tensor))
    # A tensor that has no hash counts as changed.
    return digest != stored.manifest.sha256.get(name)


def _overflows(stored: Stored, name: str, leaves: Mapping[str, jax.Array], *, dtype: str) -> bool:
    """Say whether a cast left numbers that are not finite.

    float16 alone has fewer large numbers than the dtypes that checkpoints come in.
    """
    # What is stored in float16 was refused at conversion if it was not finite.
    if dtype != "float16" or stored.dtypes[name] == np.float16:
        return False
    return not all(bool(jnp.isfinite(leaf).all()) for leaf in leaves.values())


def _refuse(stored: Stored, changed: list[str], overflown: list[str]) -> None:
    if changed:
        named = manifest.listed(changed)
        raise UserError(
            f"{stored.folder} is damaged: other bytes than were written in {named}; "
            f"{manifest.REMEDY}"
        )
    if overflown:
        named = manifest.listed(overflown)
        raise UserError(
            f"dtype.weights=float16 cannot hold {named} of {stored.folder}; use bfloat16 or float32"
        )


def _read(
    stored: Stored,
    names: list[str],
    dtype: str | None,
    sharding_of: Callable[[str], Sharding],
) -> dict[str, jax.Array]:
    """Read some tensors as they are stored, or cast to `dtype` while they are read."""
    target = {}
    for name in names:
        read_as = stored.dtypes[name] if dtype is None else np.dtype(jnp.dtype(dtype))
        target[name] = jax.ShapeDtypeStruct(
            stored.shapes[name],
            read_as,
            sharding=sharding_of(name),
        )
    try:
        return orbax_files.load(stored.folder, target)
    except OrbaxError as error:
        raise UserError(
            f"{stored.folder} is damaged: its arrays cannot be read; {manifest.REMEDY}"
        ) from error


def _on_host(leaf: jax.Array) -> np.ndarray:
    """Return all of an array, of copies.

    An array remembers its host copy, which would keep the whole model in host memory. One in parts
    is put together part by part: on a CPU a copy of it all beside that would be one too many.
    """
    if leaf.is_fully_replicated:
        shard = leaf.addressable_shards[0]
        return np.asarray(jnp.copy(shard.data))
    if not leaf.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    whole = np.empty(leaf.shape, leaf.dtype)
    for shard in leaf.addressable_shards:
        # Devices may hold equal parts: one of them is enough.
        if shard.replica_id == 0:
            whole[shard.index] = np.asarray(jnp.copy(shard.data))
    return whole
