"""Reads safetensors, single or in shards, one tensor at a time; what the files hold is known before any is read."""

import dataclasses
from pathlib import Path

import ml_dtypes  # noqa: F401  (safetensors finds the name bfloat16 in numpy only after this import)
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
        """The tensor, or a third of its last axis; no more than that is copied into memory."""
        try:
            with safe_open(self.file, "np") as file:
                if third is None:
                    return file.get_tensor(self.name)
                width = self.shape[-1] // 3
                columns = slice(third * width, (third + 1) * width)
                return file.get_slice(self.name)[(..., columns) if len(self.shape) > 1 else columns]
        except (OSError, SafetensorError) as error:
            raise _unreadable(self.file, error) from error


def entries_of(folder: Folder) -> dict[str, Entry]:
    """What the folder's safetensors files hold, by tensor name.

    Raises:
        UserError: no safetensors, a missing shard, a file that is cut short or is none.
    """
    entries = {}
    for path in _files(folder):
        try:
            with safe_open(path, "np") as file:
                for name in file.keys():  # noqa: SIM118  (a handle, not a dict)
                    view = file.get_slice(name)
                    entries[name] = Entry(name, path, tuple(view.get_shape()), view.get_dtype())
        except (OSError, SafetensorError) as error:
            raise _unreadable(path, error) from error
    return entries


def _files(folder: Folder) -> list[Path]:
    if (folder.path / SINGLE).exists():
        return [folder.path / SINGLE]
    if not (folder.path / INDEX).exists():
        raise UserError(_no_weights(folder))
    shards = folder.json(INDEX).get("weight_map")
    if (
        not isinstance(shards, dict)
        or not shards
        or not all(isinstance(shard, str) for shard in shards.values())
    ):
        raise UserError(
            f"{folder.source}: {folder.path / INDEX} has no weight_map; download the model again"
        )
    names = sorted(set(shards.values()))
    outside = [name for name in names if Path(name).name != name]
    missing = [name for name in names if name not in outside and not (folder.path / name).exists()]
    if outside or missing:
        told = "stand outside the folder" if outside else "are missing"
        raise UserError(
            f"{folder.source}: of {len(names)} weight files these {told}: {', '.join(outside or missing)}"
        )
    return [folder.path / name for name in names]


def _no_weights(folder: Folder) -> str:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.path.glob(pattern))
    if pickles:
        return (
            f"{folder.source}: holds only {', '.join(pickles[:5])}, which jaxgen does not open because loading them "
            f"can run code; convert them to {SINGLE} or use a model that has it"
        )
    return f"{folder.source}: there is neither {SINGLE} nor {INDEX} in {folder.path}"


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or cut short ({error}); download it again")
