"""Reads a checkpoint's arrays onto devices: straight into their shardings, verified, and in the dtype asked for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from jaxgen.checkpoints import manifest, orbax_files
from jaxgen.checkpoints.manifest import Stored
from jaxgen.checkpoints.orbax_files import OrbaxError
from jaxgen.checkpoints.progress import Progress
from jaxgen.errors import UserError
from jaxgen.models.structure import Leaves, Structure


def restored_leaves(
    stored: Stored,
    structure: Structure,
    *,
    dtype: str,
    sharding_of: Callable[[str], Sharding],
    verify: bool,
    progress: Progress,
) -> Leaves:
    """The leaves of a checkpoint that fits its structure, in the structure's order.

    Without verification Orbax casts while it reads. With it, everything is read as it is stored, since the hashes are
    of those bytes, and cast leaf by leaf once verified; the stored leaf is let go of before the next is cast.

    Args:
        stored: what was read of the checkpoint so far.
        structure: whose names and shapes it has.
        dtype: of the leaves.
        sharding_of: where the parameter of a name goes.
        verify: compare each tensor's sha256 with the one taken at conversion.
        progress: told of each tensor.

    Raises:
        UserError: arrays that cannot be read, whose bytes have changed, or that float16 cannot hold.
    """
    names, wanted = structure.names, np.dtype(jnp.dtype(dtype))
    progress("restore", 0, len(names))
    arrays = _read(stored, {name: stored.dtypes[name] if verify else wanted for name in names}, sharding_of)
    progress("restore", len(names), len(names))
    leaves, changed, overflown = [], [], []
    for done, name in enumerate(names):
        progress("verify", done, len(names))
        before = arrays.pop(name)
        leaf = before if before.dtype == wanted else before.astype(wanted)
        if verify and manifest.digest(_on_host(before)) != stored.manifest.sha256.get(name):
            changed.append(name)
        if dtype == "float16" and stored.dtypes[name] != wanted and not jnp.isfinite(leaf).all():
            overflown.append(name)
        leaves.append(leaf)
    progress("verify", len(names), len(names))
    _refuse(stored, changed, overflown)
    return tuple(leaves)


def _refuse(stored: Stored, changed: list[str], overflown: list[str]) -> None:
    if changed:
        named = manifest.listed(changed)
        raise UserError(f"{stored.folder} is damaged: other bytes than were written in {named}; {manifest.REMEDY}")
    if overflown:
        named = manifest.listed(overflown)
        raise UserError(f"dtype.weights=float16 cannot hold {named} of {stored.folder}; use bfloat16 or float32")


def _read(stored: Stored, dtypes: dict[str, np.dtype], sharding_of: Callable[[str], Sharding]) -> dict[str, jax.Array]:
    target = {
        name: jax.ShapeDtypeStruct(stored.shapes[name], dtype, sharding=sharding_of(name))
        for name, dtype in dtypes.items()
    }
    try:
        return orbax_files.load(stored.folder, target)
    except OrbaxError as error:
        raise UserError(f"{stored.folder} is damaged: its arrays cannot be read; {manifest.REMEDY}") from error


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
