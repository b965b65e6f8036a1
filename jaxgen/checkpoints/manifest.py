"""What jaxgen writes beside the weights of an Orbax checkpoint, and how it knows its own ones."""

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
_OURS = {"format", "architecture", "sha256"}
"""Keys of the metadata by which jaxgen knows its own checkpoints."""
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
        """Return JSON values, with the format's number."""
        plain: dict[str, Any] = {"format": FORMAT}
        for field in dataclasses.fields(self):
            plain[field.name] = getattr(self, field.name)
        # Metadata is JSON, and an architecture has tuples and objects in it.
        plain["architecture"] = self.architecture.to_plain()
        return plain


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
        """Return the bytes of all arrays, as they are stored but not compressed."""
        return sum(map(self.nbytes_of, self.shapes))

    def nbytes_of(self, name: str) -> int:
        """Return the bytes of one array, as it is stored but not compressed."""
        return math.prod(self.shapes[name]) * self.dtypes[name].itemsize


def read(folder: Path) -> Stored:
    """Read what a checkpoint is, without its arrays.

    Args:
        folder: of the checkpoint.

    Raises:
        UserError: the folder is missing, is no checkpoint of jaxgen, or is damaged.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such checkpoint; make one with "
            f"python -m jaxgen.convert SOURCE {folder}"
        )
    try:
        metadata = orbax_files.metadata(folder.absolute())
    except OrbaxError as error:
        raise UserError(f"{folder} is not a complete Orbax checkpoint; {REMEDY}") from error
    plain, arrays = metadata.custom_metadata, metadata.metadata
    # Orbax reads checkpoints of any library: ours have these keys, in a format that we know.
    if not isinstance(plain, Mapping) or not _OURS.issubset(plain):
        raise UserError(f"{folder} is an Orbax checkpoint, but not one that jaxgen made; {REMEDY}")
    if plain["format"] != FORMAT:
        raise UserError(
            f"{folder} has format {plain['format']}, this jaxgen reads format {FORMAT}; {REMEDY}"
        )
    if not isinstance(arrays, Mapping):
        raise UserError(f"{folder} is damaged: the list of its arrays is missing; {REMEDY}")
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    dtypes = {name: np.dtype(array.dtype) for name, array in arrays.items()}
    return Stored(
        folder=folder.absolute(),
        manifest=_manifest(plain, folder),
        shapes=shapes,
        dtypes=dtypes,
    )


def digest(array: np.ndarray) -> str:
    """Return the sha256 of an array's bytes, whatever its dtype."""
    flat = np.ascontiguousarray(array).reshape(-1)
    # As plain bytes: numpy exports no buffer of bfloat16 for the hash to read.
    octets = flat.view(np.uint8)
    return hashlib.sha256(octets.data).hexdigest()


def fingerprint(sha256: Mapping[str, str]) -> str:
    """Return one hash over all names and their hashes."""
    # Sorted: the order in which tensors were read says nothing about the weights.
    lines = [f"{name} {value}\n" for name, value in sorted(sha256.items())]
    text = "".join(lines)
    return hashlib.sha256(text.encode()).hexdigest()


def listed(problems: list[str], *, most: int = 20) -> str:
    """Return the first problems of a kind, and how many more there are."""
    text = ", ".join(problems[:most])
    rest = len(problems) - most
    if rest > 0:
        text += f", ... and {rest} more"
    return text


def _manifest(plain: Mapping[str, Any], folder: Path) -> Manifest:
    try:
        values = {}
        for field in dataclasses.fields(Manifest):
            values[field.name] = plain[field.name]
        values["architecture"] = Architecture(**plain["architecture"])
        manifest = Manifest(**values)
        # A hash over the hashes: whoever edits one of them must be noticed.
        is_intact = manifest.fingerprint == fingerprint(manifest.sha256)
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(
            f"{folder} is damaged: its metadata cannot be read ({error}); {REMEDY}"
        ) from error
    if not is_intact:
        raise UserError(
            f"{folder} is damaged: its tensors' hashes do not belong to its fingerprint; {REMEDY}"
        )
    return manifest
