"""Brings a model's weights onto the devices: from its converted checkpoint, or made at random."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
from jax.sharding import Sharding, SingleDeviceSharding

from jaxgen.checkpoints import huggingface, manifest, random_weights, store
from jaxgen.checkpoints.leaves import restored_leaves
from jaxgen.checkpoints.manifest import Stored
from jaxgen.checkpoints.progress import Progress, silent
from jaxgen.checkpoints.tokenizer import TOKENIZER
from jaxgen.errors import UserError
from jaxgen.models.structure import Leaves, Structure, structure_of
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.model import Model, Weights

Shardings = Callable[[Architecture], Callable[[str], Sharding]]
"""Of an architecture, where the parameter of a name goes."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model on the devices.

    Attributes:
        architecture: of the model.
        structure: what the leaves belong to.
        leaves: the weights, in the order of `structure.names`.
        source: what was converted, or `random`.
        fingerprint: of the stored tensors (not of what they were cast to), or of the random seed and shapes.
        random: the weights mean nothing.
        nbytes: of all leaves.
        tokenizer: a tokenizer.json; null where the model has none.
    """

    architecture: Architecture
    structure: Structure
    leaves: Leaves
    source: str
    fingerprint: str
    random: bool
    nbytes: int
    tokenizer: Path | None


def load(
    model: Model,
    *,
    dtype: Dtype,
    shardings: Shardings | None = None,
    progress: Progress = silent,
) -> Loaded:
    """Restore a model's weights, or make random ones.

    Args:
        model: where the weights come from.
        dtype: how weights are kept, and quantised activations or not.
        shardings: of the architecture, once it is known, where the parameter of a name goes; null puts all of them on
            the default device.
        progress: told of each tensor.

    Raises:
        UserError: a checkpoint that is missing, damaged, of another model, or whose bytes have changed.
    """
    shardings = shardings or (lambda _architecture: _on_default_device())
    if model.weights is Weights.random:
        return _random(model, dtype=dtype, shardings=shardings, progress=progress)
    stored = manifest.read(store.converted(model, progress=progress))
    structure = structure_of(_checked_architecture(stored, model), dtype.int8)
    sharding_of = shardings(structure.architecture)
    leaves = restored_leaves(
        stored,
        structure,
        dtype=dtype.float_dtype,
        sharding_of=sharding_of,
        verify=model.verify,
        progress=progress,
    )
    return Loaded(
        architecture=structure.architecture,
        structure=structure,
        leaves=leaves,
        source=stored.manifest.source,
        fingerprint=stored.manifest.fingerprint,
        random=False,
        nbytes=sum(leaf.nbytes for leaf in leaves),
        tokenizer=_tokenizer_in(stored.folder),
    )


def _random(model: Model, *, dtype: Dtype, shardings: Shardings, progress: Progress) -> Loaded:
    assert model.shapes is not None, "random weights without shapes are refused by the spec"
    structure = structure_of(model.shapes, dtype.int8)
    leaves = random_weights.random_leaves(
        structure,
        seed=model.seed,
        dtype=dtype.float_dtype,
        sharding_of=shardings(model.shapes),
        progress=progress,
    )
    folder = Path(model.checkpoint) if model.checkpoint else huggingface.local(model.source or "")
    return Loaded(
        architecture=model.shapes,
        structure=structure,
        leaves=leaves,
        source="random",
        fingerprint=random_weights.fingerprint(model.shapes, model.seed),
        random=True,
        nbytes=sum(leaf.nbytes for leaf in leaves),
        tokenizer=_tokenizer_in(folder) if folder else None,
    )


def _checked_architecture(stored: Stored, model: Model) -> Architecture:
    """Compare a checkpoint with its own architecture and with the model's shapes before any array is read."""
    there = stored.manifest.architecture
    eos = (
        there.eos_token_ids
    )  # a generation_config.json may change them without making another model
    asked = dataclasses.replace(model.shapes, eos_token_ids=eos) if model.shapes else there
    structure = structure_of(asked)
    needed = dict(zip(structure.names, structure.shapes, strict=True))
    problems = {
        "fields of another architecture": _differences(there, asked),
        "tensors missing": [name for name in needed if name not in stored.shapes],
        "tensors unexpected": [name for name in stored.shapes if name not in needed],
        "tensors misshapen": [
            f"{name} is {stored.shapes[name]}, should be {shape}"
            for name, shape in needed.items()
            if stored.shapes.get(name, shape) != shape
        ],
    }
    told = [
        f"{len(names)} {kind}: {manifest.listed(names)}"
        for kind, names in problems.items()
        if names
    ]
    if told and asked != there:
        remedy = "choose the model that it was made for, or model=hf, which takes the checkpoint as it is"
        raise UserError.collected(
            f"{stored.folder} does not fit model={model.name}", [*told, remedy]
        )
    if told:
        raise UserError.collected(f"{stored.folder} is damaged", [*told, manifest.REMEDY])
    return asked


def _differences(there: Architecture, asked: Architecture) -> list[str]:
    pairs = [
        (one.name, getattr(there, one.name), getattr(asked, one.name))
        for one in dataclasses.fields(there)
    ]
    return [
        f"{name} is {found}, should be {wanted}" for name, found, wanted in pairs if found != wanted
    ]


def _on_default_device() -> Callable[[str], Sharding]:
    sharding = SingleDeviceSharding(jnp.zeros(()).device)
    return lambda name: sharding


def _tokenizer_in(folder: Path) -> Path | None:
    path = folder.expanduser().absolute() / TOKENIZER
    return path if path.is_file() else None
