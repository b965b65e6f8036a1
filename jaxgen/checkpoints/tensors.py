"""Reads safetensors, single or in shards, one tensor at a time; their headers are read first."""

import dataclasses
from pathlib import Path

# safetensors finds the name bfloat16 in numpy only after this import.
import ml_dtypes  # noqa: F401
import numpy as np
from safetensors import SafetensorError, safe_open

from jaxgen.checkpoints.huggingface import INDEX, SINGLE, Folder
from jaxgen.errors import UserError

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor in a file.

    Attributes:
        name: as the file has it.
        file: where it stands.
        shape: of the whole tensor.
        dtype: in safetensors' spelling, such as `BF16`.
    """

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str

    def read(self, *, third: int | None = None) -> np.ndarray:
        """Return the tensor, or a third of its last axis; no more is copied into memory."""
        try:
            with safe_open(self.file, "np") as file:
                if third is None:
                    return file.get_tensor(self.name)
                width = self.shape[-1] // 3
                # Of 2304 columns q has 0 to 767, k 768 to 1535, v 1536 to 2303.
                columns = slice(third * width, (third + 1) * width)
                view = file.get_slice(self.name)
                if len(self.shape) == 1:
                    return view[columns]
                return view[..., columns]
        except (OSError, SafetensorError) as error:
            raise _unreadable(self.file, error) from error


def entries_of(folder: Folder) -> dict[str, Entry]:
    """Return what the folder's safetensors files hold, by tensor name.

    Raises:
        UserError: no safetensors, a missing shard, a file that is cut short or is none.
    """
    # safetensors says shapes and dtypes in a header, so that no numbers are read here.
    entries = {}
    for path in _files(folder):
        try:
            with safe_open(path, "np") as file:
                for name in file.keys():  # noqa: SIM118  (a handle, not a dict)
                    view = file.get_slice(name)
                    shape = tuple(view.get_shape())
                    entries[name] = Entry(name, path, shape, view.get_dtype())
        except (OSError, SafetensorError) as error:
            raise _unreadable(path, error) from error
    return entries


def _files(folder: Folder) -> list[Path]:
    if (folder.path / SINGLE).exists():
        return [folder.path / SINGLE]
    if not (folder.path / INDEX).exists():
        raise UserError(_no_weights(folder))
    names = _shard_names(folder)
    paths = [folder.path / name for name in names]
    # An index is somebody else's file: it must not make us read elsewhere.
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise _wrong_files(folder, names, "stand outside the folder", outside)
    missing = []
    for path in paths:
        if not path.exists():
            missing.append(path.name)
    if missing:
        raise _wrong_files(folder, names, "are missing", missing)
    return paths


def _shard_names(folder: Folder) -> list[str]:
    """Return the names of the files that the folder's index lists."""
    weight_map = folder.json(INDEX).get("weight_map")
    files = weight_map.values() if isinstance(weight_map, dict) else ()
    if not files or not all(isinstance(file, str) for file in files):
        raise UserError(
            f"{folder.source}: {folder.path / INDEX} has no weight_map; download the model again"
        )
    return sorted(set(files))


def _wrong_files(folder: Folder, names: list[str], problem: str, wrong: list[str]) -> UserError:
    listed = ", ".join(wrong)
    return UserError(f"{folder.source}: of {len(names)} weight files these {problem}: {listed}")


def _no_weights(folder: Folder) -> str:
    pickles: list[str] = []
    for pattern in _PICKLES:
        pickles += [path.name for path in folder.path.glob(pattern)]
    if pickles:
        listed = ", ".join(sorted(pickles)[:5])
        return (
            f"{folder.source}: holds only {listed}, which jaxgen does not open because loading "
            f"them can run code; convert them to {SINGLE} or use a model that has it"
        )
    return f"{folder.source}: there is neither {SINGLE} nor {INDEX} in {folder.path}"


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or cut short ({error}); download it again")
