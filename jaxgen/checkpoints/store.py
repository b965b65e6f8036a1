"""Where converted checkpoints are, so that a model is converted once and reused afterwards."""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

from jaxgen.checkpoints import huggingface, manifest
from jaxgen.checkpoints.convert import convert, partial_prefix
from jaxgen.checkpoints.progress import Progress, silent
from jaxgen.errors import UserError
from jaxgen.specs.model import Model, Weights


def converted(model: Model, *, progress: Progress = silent) -> Path:
    """Return the Orbax checkpoint of a model: the one it names, or its source's.

    A source is converted now if it never was. Processes that ask for the same source at the same
    time convert it once: the others wait.

    Args:
        model: with a `checkpoint` or a `source`.
        progress: called for each tensor of a conversion, and for the wait for somebody else's.

    Returns:
        The checkpoint's folder, absolute.

    Raises:
        UserError: no such checkpoint, or a source that cannot be converted.
    """
    if model.checkpoint is not None:
        return manifest.read(Path(model.checkpoint).expanduser().absolute()).folder
    assert model.source is not None, "a model without weights is refused by its spec"
    checkpoint = _stored_path(model)
    store = checkpoint.parent
    # It appears by a rename: what exists is complete, and needs no lock.
    if checkpoint.exists():
        return checkpoint
    with _locked(store / f".{checkpoint.name}.lock", progress=progress):
        # Whoever had the lock before may have converted it.
        if not checkpoint.exists():
            # A conversion that was killed leaves its scratch folder.
            for scratch in store.glob(f"{partial_prefix(checkpoint)}*"):
                shutil.rmtree(scratch, ignore_errors=True)
            convert(model.source, checkpoint, progress=progress)
    return checkpoint


def is_converted(model: Model) -> bool:
    """Say whether `converted` has nothing to convert.

    Only files are looked at, so that jax does not start for it.
    """
    if model.weights is Weights.random or model.checkpoint is not None:
        return True
    return _stored_path(model).exists()


def _stored_path(model: Model) -> Path:
    """Return where the conversion of a model's source is, or will be."""
    store = default_store()
    if model.store:
        store = Path(model.store).expanduser().absolute()
    folder = huggingface.locate(model.source or "")
    return store / f"{_slug(folder)}-{_key(folder)}"


def default_store() -> Path:
    """Return the store of a model that names none: in the user's cache directory."""
    return Path(platformdirs.user_cache_dir("jaxgen")) / "checkpoints"


def _slug(folder: huggingface.Folder) -> str:
    """Return a readable name: the hub id, or the folder's own name."""
    name = folder.source if folder.revision else folder.path.name
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", name)
    slug = slug.strip("-.")
    return slug[:60] or "model"


def _key(folder: huggingface.Folder) -> str:
    """Return a hash of what tells one source from another, without reading its weights."""
    # A commit of the hub never changes; a folder may, which its files' sizes and times show.
    identity: list[Any] = [folder.source, folder.revision]
    if not folder.revision:
        identity = [str(folder.path), _file_stats(folder)]
    config = folder.json(huggingface.CONFIG)
    # With the format: a jaxgen that writes another one finds no old checkpoint here.
    text = json.dumps([manifest.FORMAT, identity, config], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return digest[:16]


def _file_stats(folder: huggingface.Folder) -> list[tuple[str, int, int]]:
    """Return name, bytes and time in ns of every file that a conversion reads."""
    files = list(folder.path.glob("*.safetensors"))
    for name in (
        huggingface.CONFIG,
        huggingface.GENERATION,
        huggingface.INDEX,
        *huggingface.TOKENIZER_FILES,
    ):
        files.append(folder.path / name)
    stats = []
    for path in sorted(files):
        if path.is_file():
            stat = path.stat()
            stats.append((path.name, stat.st_size, stat.st_mtime_ns))
    return stats


@contextlib.contextmanager
def _locked(path: Path, *, progress: Progress) -> Iterator[None]:
    """Hold a file's lock; the system releases it if the process dies."""
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise UserError(
            f"cannot write to {path.parent} ({error.strerror}); set model.store=DIR"
        ) from error
    with file:
        try:
            # Without waiting first: a wait is reported before it begins.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("wait", 0, 1)
            fcntl.flock(file, fcntl.LOCK_EX)
            progress("wait", 1, 1)
        yield
