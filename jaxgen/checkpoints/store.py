"""Where converted checkpoints are kept, so that a model is converted once and found again afterwards."""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from jaxgen.checkpoints import huggingface, manifest
from jaxgen.checkpoints.convert import convert, partial_prefix
from jaxgen.checkpoints.progress import Progress, silent
from jaxgen.errors import UserError
from jaxgen.specs.model import Model, Weights


def converted(model: Model, *, progress: Progress = silent) -> Path:
    """The Orbax checkpoint of a model: the one it names, or its source's, converted now if it never was.

    Processes that ask for the same source at the same time convert it once: the others wait.

    Args:
        model: with a `checkpoint` or a `source`.
        progress: told of each tensor of a conversion, and of the wait for somebody else's.

    Returns:
        The checkpoint's folder, absolute.

    Raises:
        UserError: no such checkpoint, or a source that cannot be converted.
    """
    if model.checkpoint is not None:
        return manifest.read(Path(model.checkpoint).expanduser().absolute()).folder
    assert model.source is not None, "a model without weights is refused by its spec"
    checkpoint = _place(model)
    store = checkpoint.parent
    if checkpoint.exists():
        return checkpoint
    with _locked(store / f".{checkpoint.name}.lock", progress=progress):
        if not checkpoint.exists():
            for left_behind in store.glob(
                f"{partial_prefix(checkpoint)}*"
            ):  # by a conversion that was killed
                shutil.rmtree(left_behind, ignore_errors=True)
            convert(model.source, checkpoint, progress=progress)
    return checkpoint


def is_converted(model: Model) -> bool:
    """Whether `converted` has nothing to convert; only files are looked at, so that jax does not start for it."""
    return model.weights is Weights.random or model.checkpoint is not None or _place(model).exists()


def _place(model: Model) -> Path:
    """Where the conversion of a model's source is, or will be."""
    store = Path(model.store).expanduser().absolute() if model.store else default_store()
    folder = huggingface.locate(model.source or "")
    return store / f"{_slug(folder)}-{_key(folder)}"


def default_store() -> Path:
    """The store of a model that names none: in the user's cache directory."""
    return Path(platformdirs.user_cache_dir("jaxgen")) / "checkpoints"


def _slug(folder: huggingface.Folder) -> str:
    """A readable name: the hub id, or the folder's own name."""
    name = folder.source if folder.revision else folder.path.name
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:60] or "model"


def _key(folder: huggingface.Folder) -> str:
    """A hash of what tells one source from another, without reading its weights."""
    if folder.revision:
        identity: list = [folder.source, folder.revision]
    else:
        names = (
            huggingface.CONFIG,
            huggingface.GENERATION,
            huggingface.INDEX,
            *huggingface.TOKENIZER_FILES,
        )
        files = [*folder.path.glob("*.safetensors"), *(folder.path / name for name in names)]
        stats = [(path.name, path.stat()) for path in sorted(files) if path.is_file()]
        identity = [
            str(folder.path),
            [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
        ]
    text = json.dumps([manifest.FORMAT, identity, folder.json(huggingface.CONFIG)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: Path, *, progress: Progress) -> Iterator[None]:
    """Hold a file's lock; the system gives it back if the process dies."""
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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("wait", 0, 1)
            fcntl.flock(file, fcntl.LOCK_EX)
            progress("wait", 1, 1)
        yield
