"""Hugging Face safetensors to an Orbax checkpoint: checked, hashed, written whole or not at all."""

import contextlib
import errno
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from jaxgen.checkpoints import huggingface, manifest, orbax_files, tokenizer
from jaxgen.checkpoints.families import architecture_of
from jaxgen.checkpoints.keys import Key
from jaxgen.checkpoints.matching import match_tensors
from jaxgen.checkpoints.orbax_files import OrbaxError
from jaxgen.checkpoints.progress import Progress, silent
from jaxgen.checkpoints.tensors import DTYPES, Entry, entries_of
from jaxgen.errors import UserError
from jaxgen.models.structure import Structure, structure_of
from jaxgen.specs.architecture import Architecture

_NUMPY = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def convert(
    source: str, dest: str | Path, *, dtype: str | None = None, progress: Progress = silent
) -> None:
    """Convert a Hugging Face model into an Orbax checkpoint at `dest`, its tokenizer beside it.

    Args:
        source: a folder, a hub id or `package:NAME`.
        dest: a folder that does not exist yet; it appears when all of it is written, or not at all.
        dtype: float32, bfloat16 or float16; null keeps each tensor's own.
        progress: called for each tensor.

    Raises:
        UserError: whatever is wrong with the source, all missing, unexpected, misshapen and
            non-finite tensors at once, or a destination that exists, cannot be written or has no
            room.
    """
    _check_request(source, dtype)
    dest = Path(dest).expanduser().absolute()
    # A link to nowhere is in the way too.
    if os.path.lexists(dest):
        raise UserError(f"{dest} exists already; choose another name or delete it first")
    folder = huggingface.locate(source)
    # The model that config.json describes decides which tensors there must be.
    config = folder.json(huggingface.CONFIG)
    generation = folder.json_if_there(huggingface.GENERATION)
    structure = structure_of(architecture_of(config, generation, subject=source))
    # What is wrong with the tensors is known from their headers, before gigabytes are read.
    plan = match_tensors(structure, entries_of(folder), source=source)
    with _partial(dest) as partial:
        _make_sure_it_fits(partial.parent, structure, plan, dtype=dtype)
        arrays, sha256 = _arrays(plan, dtype=dtype, source=source, progress=progress)
        metadata = _manifest(structure.architecture, config, arrays, sha256, source=source)
        progress("write", 0, len(arrays))
        orbax_files.save(partial, arrays, metadata.to_plain())
        # Into the scratch folder as well: one rename makes weights and tokenizer appear together.
        tokenizer.copy(folder, partial)
        progress("write", len(arrays), len(arrays))


def _check_request(source: str, dtype: str | None) -> None:
    # Orbax writes with all processes of a job or not at all.
    if jax.process_count() > 1:
        raise UserError(
            f"{source} is not converted yet, and the processes of a jax.distributed job cannot do "
            "that; run python -m jaxgen.convert SOURCE DEST once and set model.checkpoint=DEST"
        )
    if dtype is not None and dtype not in _NUMPY:
        raise UserError(f"--dtype {dtype} is not supported; choose one of {', '.join(_NUMPY)}")


def _manifest(
    architecture: Architecture,
    config: dict[str, Any],
    arrays: dict[str, np.ndarray],
    sha256: dict[str, str],
    *,
    source: str,
) -> manifest.Manifest:
    """Return what stands beside the weights, so that they can be loaded and checked alone."""
    dtypes = {array.dtype.name for array in arrays.values()}
    return manifest.Manifest(
        architecture=architecture,
        config=config,
        dtype=dtypes.pop() if len(dtypes) == 1 else "mixed",
        source=source,
        sha256=sha256,
        fingerprint=manifest.fingerprint(sha256),
    )


def _arrays(
    plan: dict[str, tuple[Key, Entry]], *, dtype: str | None, source: str, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read, lay out, cast and hash every parameter; only the result stays in memory."""
    arrays, sha256, not_finite = {}, {}, []
    for done, (name, (key, entry)) in enumerate(plan.items()):
        progress("read", done, len(plan))
        tensor = entry.read(third=key.third)
        # Hashes are of what is stored, so that a restored array can be compared with them.
        array = _as_stored(tensor, key, dtype=dtype)
        if not np.isfinite(array).all():
            problem = entry.name
            # Finite before the cast: not the source is at fault, but the dtype that was asked for.
            if np.isfinite(tensor).all():
                problem += f" (beyond the range of {dtype})"
            not_finite.append(problem)
        arrays[name] = array
        sha256[name] = manifest.digest(array)
    progress("read", len(plan), len(plan))
    if not_finite:
        # Three parameters may be thirds of one tensor: it is named once.
        named = manifest.listed(list(dict.fromkeys(not_finite)))
        raise UserError(
            f"{source} has NaN or Inf weights: {named}; download it again or choose another --dtype"
        )
    return arrays, sha256


def _as_stored(tensor: np.ndarray, key: Key, *, dtype: str | None) -> np.ndarray:
    """Return a tensor as the checkpoint stores it: (in, out), contiguous, and cast."""
    if key.transposed:
        tensor = tensor.T
    # An overflow becomes Inf, which the caller reports.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(tensor, _NUMPY[dtype] if dtype else None)


@contextlib.contextmanager
def _partial(dest: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes `dest` if all goes well and vanishes otherwise."""
    new_parents = [parent for parent in dest.parents if not parent.exists()]
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=partial_prefix(dest), dir=dest.parent))
    except OSError as error:
        raise UserError(
            f"cannot write to {dest.parent} ({error.strerror}); choose another destination"
        ) from error
    # A rename is atomic on one file system: hence the scratch folder beside the destination.
    try:
        yield scratch / "checkpoint"
        os.rename(scratch / "checkpoint", dest)
    except (OSError, OrbaxError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(
            f"cannot write {dest} ({reason}); free some space or choose another"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not dest.exists():
            # Folders made for nothing, the innermost first; one that holds anything stays.
            for parent in new_parents:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def partial_prefix(dest: Path) -> str:
    """Return how the scratch folders of a destination begin; a killed conversion leaves one."""
    return f".{dest.name}.partial-"


def _make_sure_it_fits(
    path: Path, structure: Structure, plan: dict[str, tuple[Key, Entry]], *, dtype: str | None
) -> None:
    """Refuse a disk that is too small before gigabytes are read."""
    needed = 0
    for (_, entry), shape in zip(plan.values(), structure.shapes, strict=True):
        stored_as = _NUMPY[dtype or DTYPES[entry.dtype]]
        needed += stored_as.itemsize * math.prod(shape)
    free = shutil.disk_usage(path).free
    if needed > free:
        message = f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
        # As the disk itself would say it: `_partial` has the words for both.
        raise OSError(errno.ENOSPC, message)
