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
        fingerprint: of the stored tensors (not of what they were cast to), or of the random seed
            and shapes.
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
        dtype: of the weights on the device, and whether activations are quantised.
        shardings: of the architecture, once it is known, where the parameter of a name goes; null
            puts all of them on the default device.
        progress: called for each tensor.

    Raises:
        UserError: a checkpoint that is missing, damaged, changed, or of another model.
    """
    shardings = shardings or (lambda _architecture: _on_default_device())
    if model.weights is Weights.random:
        return _random(model, dtype=dtype, shardings=shardings, progress=progress)
    stored = manifest.read(store.converted(model, progress=progress))
    structure = structure_of(_checked_architecture(stored, model), dtype.int8)
    # Only now: with model=hf nobody knows the architecture before the checkpoint is read.
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
    # Only the tokenizer is read there, if there is one: random weights download nothing.
    folder = None
    if model.checkpoint:
        folder = Path(model.checkpoint)
    elif model.source:  # an empty path would be the working directory, and its tokenizer
        folder = huggingface.local(model.source)
    return Loaded(
        architecture=model.shapes,
        structure=structure,
        leaves=leaves,
        source="random",
        # By seed and shapes: there are no stored bytes to hash.
        fingerprint=random_weights.fingerprint(model.shapes, model.seed),
        random=True,
        nbytes=sum(leaf.nbytes for leaf in leaves),
        tokenizer=_tokenizer_in(folder) if folder else None,
    )


def _checked_architecture(stored: Stored, model: Model) -> Architecture:
    """Compare a checkpoint with its own architecture and the model's, before any array is read."""
    actual = stored.manifest.architecture
    expected = actual
    if model.shapes:
        # A generation_config.json may change the end-of-text ids without making another model.
        expected = dataclasses.replace(model.shapes, eos_token_ids=actual.eos_token_ids)
    messages = _problems(stored, actual, expected)
    # Two causes: the user named another model, or the checkpoint does not hold what it says itself.
    if messages and expected != actual:
        messages.append(
            "choose the model that it was made for, or model=hf, which takes the checkpoint "
            "as it is"
        )
        message = f"{stored.folder} does not fit model={model.name}"
        raise UserError.collected(message, messages)
    if messages:
        messages.append(manifest.REMEDY)
        raise UserError.collected(f"{stored.folder} is damaged", messages)
    return expected


def _problems(stored: Stored, actual: Architecture, expected: Architecture) -> list[str]:
    """Return how a checkpoint differs from an architecture, a message for each kind of problem."""
    # Without int8: a checkpoint holds floats, which are quantised as they are loaded.
    structure = structure_of(expected)
    shapes = dict(zip(structure.names, structure.shapes, strict=True))
    misshapen = []
    for name, shape in shapes.items():
        # One that is missing has no shape to be wrong about, and is named once.
        stored_shape = stored.shapes.get(name, shape)
        if stored_shape != shape:
            misshapen.append(f"{name} is {stored_shape}, should be {shape}")
    problems = {
        "fields of another architecture": _differences(actual, expected),
        "tensors missing": [name for name in shapes if name not in stored.shapes],
        "tensors unexpected": [name for name in stored.shapes if name not in shapes],
        "tensors misshapen": misshapen,
    }
    messages = []
    for kind, names in problems.items():
        if names:
            messages.append(f"{len(names)} {kind}: {manifest.listed(names)}")
    return messages


def _differences(actual: Architecture, expected: Architecture) -> list[str]:
    differences = []
    for field in dataclasses.fields(actual):
        value, wanted = getattr(actual, field.name), getattr(expected, field.name)
        if value != wanted:
            differences.append(f"{field.name} is {value}, should be {wanted}")
    return differences


def _on_default_device() -> Callable[[str], Sharding]:
    # Where a new array goes by itself: that respects a default device which the caller has set.
    sharding = SingleDeviceSharding(jnp.zeros(()).device)
    return lambda name: sharding


def _tokenizer_in(folder: Path) -> Path | None:
    path = folder.expanduser().absolute() / TOKENIZER
    return path if path.is_file() else None
