"""Hugging Face safetensors to an Orbax checkpoint: checked both ways, hashed, and written whole or not at all."""

import contextlib
import errno
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import ml_dtypes
import numpy as np

from jaxgen.checkpoints import huggingface, manifest, orbax_files, tokenizer
from jaxgen.checkpoints.families import architecture_of
from jaxgen.checkpoints.keys import TABLES, Key, keys_of
from jaxgen.checkpoints.orbax_files import OrbaxError
from jaxgen.checkpoints.progress import Progress, silent
from jaxgen.checkpoints.tensors import DTYPES, Entry, entries_of
from jaxgen.errors import UserError
from jaxgen.models.structure import Structure, structure_of

_NUMPY = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def convert(
    source: str, dest: str | Path, *, dtype: str | None = None, progress: Progress = silent
) -> None:
    """Convert a Hugging Face model into an Orbax checkpoint at `dest`, with its tokenizer beside the weights.

    Args:
        source: a folder, a hub id or `package:NAME`.
        dest: a folder that does not exist yet; it appears when all of it is written, or not at all.
        dtype: float32, bfloat16 or float16; null keeps each tensor's own.
        progress: told of each tensor.

    Raises:
        UserError: whatever is wrong with the source, all missing, unexpected, misshapen and non-finite tensors at
            once, or a destination that exists, cannot be written or has no room.
    """
    if jax.process_count() > 1:  # Orbax writes with all processes of a job or not at all
        raise UserError(
            f"{source} is not converted yet, and the processes of a jax.distributed job cannot do that; run "
            "python -m jaxgen.convert SOURCE DEST once and set model.checkpoint=DEST"
        )
    if dtype is not None and dtype not in _NUMPY:
        raise UserError(f"--dtype {dtype} is not supported; choose one of {', '.join(_NUMPY)}")
    dest = Path(dest).expanduser().absolute()
    if os.path.lexists(dest):
        raise UserError(f"{dest} exists already; choose another name or delete it first")
    folder = huggingface.locate(source)
    config = folder.json(huggingface.CONFIG)
    generation = folder.json_if_there(huggingface.GENERATION)
    structure = structure_of(architecture_of(config, generation, subject=source))
    plan = matched(structure, entries_of(folder), source=source)
    with _partial(dest) as partial:
        _make_sure_it_fits(partial.parent, structure, plan, dtype=dtype)
        arrays, sha256 = _arrays(plan, dtype=dtype, source=source, progress=progress)
        stored = {array.dtype.name for array in arrays.values()}
        made = manifest.Manifest(
            architecture=structure.architecture,
            config=config,
            dtype=stored.pop() if len(stored) == 1 else "mixed",
            source=source,
            sha256=sha256,
            fingerprint=manifest.fingerprint(sha256),
        )
        progress("write", 0, len(arrays))
        orbax_files.save(partial, arrays, made.to_plain())
        tokenizer.copy(folder, partial)
        progress("write", len(arrays), len(arrays))


def matched(
    structure: Structure, entries: dict[str, Entry], *, source: str
) -> dict[str, tuple[Key, Entry]]:
    """Find each parameter's tensor; nothing may be missing, left over, misshapen or of another dtype."""
    table, keys = TABLES[structure.architecture.family], keys_of(structure)
    by_name = {}
    for name in sorted(
        entries, key=len
    ):  # a name both with and without its prefix counts as unexpected
        bare = name.removeprefix(table.prefix)
        by_name[name if bare in by_name else bare] = entries[name]
    needed = {
        key.name: key.stored_shape(shape)
        for key, shape in zip(keys.values(), structure.shapes, strict=True)
    }
    there = {name: entry for name, entry in by_name.items() if name in needed}
    tied = structure.architecture.tied
    problems = {
        "missing": [name for name in needed if name not in by_name],
        "unexpected": [
            name for name in by_name if name not in needed and not table.ignores(name, tied=tied)
        ],
        "misshapen": [
            f"{name} is {entry.shape}, config.json asks for {needed[name]}"
            for name, entry in there.items()
            if entry.shape != needed[name]
        ],
        f"of a dtype other than {', '.join(DTYPES)}": [
            f"{name} is {entry.dtype}" for name, entry in there.items() if entry.dtype not in DTYPES
        ],
    }
    told = [
        f"{len(names)} tensors {kind}: {manifest.listed(names)}"
        for kind, names in problems.items()
        if names
    ]
    if told:
        raise UserError.collected(f"{source} does not hold the tensors of its config.json", told)
    return {ours: (key, by_name[key.name]) for ours, key in keys.items()}


def _arrays(
    plan: dict[str, tuple[Key, Entry]], *, dtype: str | None, source: str, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read, lay out, cast and hash every parameter; only the result stays in memory."""
    arrays, sha256, wrong = {}, {}, []
    for done, (name, (key, entry)) in enumerate(plan.items()):
        progress("read", done, len(plan))
        tensor = entry.read(third=key.third)
        with np.errstate(over="ignore"):  # an overflow becomes Inf, which is told below
            array = np.ascontiguousarray(
                tensor.T if key.transposed else tensor, _NUMPY[dtype] if dtype else None
            )
        if not np.isfinite(array).all():
            overflow = np.isfinite(tensor).all()
            wrong.append(f"{entry.name} (beyond the range of {dtype})" if overflow else entry.name)
        arrays[name], sha256[name] = array, manifest.digest(array)
    progress("read", len(plan), len(plan))
    if wrong:
        named = manifest.listed(list(dict.fromkeys(wrong)))
        raise UserError(
            f"{source} has NaN or Inf weights: {named}; download it again or choose another --dtype"
        )
    return arrays, sha256


@contextlib.contextmanager
def _partial(dest: Path) -> Iterator[Path]:
    """A path to write to, which becomes `dest` if all goes well; else nothing of it is left."""
    new_parents = [parent for parent in dest.parents if not parent.exists()]
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=partial_prefix(dest), dir=dest.parent))
    except OSError as error:
        raise UserError(
            f"cannot write to {dest.parent} ({error.strerror}); choose another destination"
        ) from error
    try:
        yield scratch / "checkpoint"
        os.rename(scratch / "checkpoint", dest)
    except (OSError, OrbaxError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"cannot write {dest} ({reason}); free some space or choose another"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for parent in [] if dest.exists() else new_parents:
            with contextlib.suppress(OSError):
                parent.rmdir()


def partial_prefix(dest: Path) -> str:
    """How the scratch folders of a destination begin; a killed conversion leaves one behind."""
    return f".{dest.name}.partial-"


def _make_sure_it_fits(
    path: Path, structure: Structure, plan: dict[str, tuple[Key, Entry]], *, dtype: str | None
) -> None:
    """Refuse before reading gigabytes."""
    dtypes = [_NUMPY[dtype or DTYPES[entry.dtype]] for _, entry in plan.values()]
    needed = sum(
        one.itemsize * math.prod(shape) for one, shape in zip(dtypes, structure.shapes, strict=True)
    )
    free = shutil.disk_usage(path).free
    if needed > free:
        raise OSError(
            errno.ENOSPC, f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
        )
