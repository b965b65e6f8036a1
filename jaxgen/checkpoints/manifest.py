"""What jaxgen writes beside the weights of an Orbax checkpoint, and how it tells its own checkpoints from others."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.checkpoints import orbax_files
from jaxgen.checkpoints.orbax_files import OrbaxError
from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture

FORMAT = 1
REMEDY = "convert the Hugging Face model again with python -m jaxgen.convert SOURCE DEST"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The custom metadata of a checkpoint.

    Attributes:
        architecture: of the model.
        config: the Hugging Face config.json it was read from.
        dtype: of the stored tensors, `mixed` where they differ.
        source: what the user converted.
        sha256: of each stored tensor's bytes, by parameter name.
        fingerprint: one hash over `sha256`; equal for equal weights.
    """

    architecture: Architecture
    config: dict[str, Any]
    dtype: str
    source: str
    sha256: dict[str, str]
    fingerprint: str

    def to_plain(self) -> dict[str, Any]:
        """JSON values, with the format's number."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"format": FORMAT, **fields, "architecture": self.architecture.to_plain()}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A checkpoint on disk, none of whose arrays has been read.

    Attributes:
        folder: absolute.
        manifest: what was written beside the weights.
        shapes: of the stored arrays, by parameter name.
        dtypes: likewise.
    """

    folder: Path
    manifest: Manifest
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, np.dtype]

    @property
    def nbytes(self) -> int:
        """Of all arrays, as they are stored but not compressed."""
        return sum(map(self.nbytes_of, self.shapes))

    def nbytes_of(self, name: str) -> int:
        """Of one array, as it is stored but not compressed."""
        return math.prod(self.shapes[name]) * self.dtypes[name].itemsize


def read(folder: Path) -> Stored:
    """Read what a checkpoint is, without its arrays.

    Raises:
        UserError: the folder is missing, is no checkpoint of jaxgen, or is damaged.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such checkpoint; make one with python -m jaxgen.convert SOURCE {folder}"
        )
    try:
        found = orbax_files.metadata(folder.absolute())
    except OrbaxError as error:
        raise UserError(f"{folder} is not a complete Orbax checkpoint; {REMEDY}") from error
    plain, arrays = found.custom_metadata, found.metadata
    if not isinstance(plain, Mapping) or not {"format", "architecture", "sha256"} <= set(plain):
        raise UserError(f"{folder} is an Orbax checkpoint, but not one that jaxgen made; {REMEDY}")
    if plain["format"] != FORMAT:
        raise UserError(
            f"{folder} has format {plain['format']}, this jaxgen reads format {FORMAT}; {REMEDY}"
        )
    if not isinstance(arrays, Mapping):
        raise UserError(f"{folder} is damaged: the list of its arrays is missing; {REMEDY}")
    return Stored(
        folder=folder.absolute(),
        manifest=_manifest(plain, folder),
        shapes={name: tuple(array.shape) for name, array in arrays.items()},
        dtypes={name: np.dtype(array.dtype) for name, array in arrays.items()},
    )


def digest(array: np.ndarray) -> str:
    """The sha256 of an array's bytes, whatever its dtype."""
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data).hexdigest()


def fingerprint(sha256: Mapping[str, str]) -> str:
    """One hash over all names and their hashes."""
    lines = "".join(f"{name} {value}\n" for name, value in sorted(sha256.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def listed(problems: list[str], *, most: int = 20) -> str:
    """The first problems of a kind, and how many more there are."""
    more = f", ... and {len(problems) - most} more" if len(problems) > most else ""
    return ", ".join(problems[:most]) + more


def _manifest(plain: Mapping[str, Any], folder: Path) -> Manifest:
    try:
        values = {field.name: plain[field.name] for field in dataclasses.fields(Manifest)}
        manifest = Manifest(**{**values, "architecture": Architecture(**plain["architecture"])})
        intact = manifest.fingerprint == fingerprint(manifest.sha256)
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(
            f"{folder} is damaged: its metadata cannot be read ({error}); {REMEDY}"
        ) from error
    if not intact:
        raise UserError(
            f"{folder} is damaged: its tensors' hashes do not belong to its fingerprint; {REMEDY}"
        )
    return manifest
