"""What Hugging Face transformers answered is the judge of conversion and decoder together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.caches.none import Recompute
from jaxgen.checkpoints.convert import convert
from jaxgen.checkpoints.restore import load
from jaxgen.models.structure import Leaves, Structure
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.model import Model
from support import golden_files

TOLERANCE = 2e-4  # float32 sums in another order, over logits whose standard deviation is 1 to 3


@functools.partial(jax.jit, static_argnums=0)  # traced: leaves and tokens
def _logits(structure: Structure, leaves: Leaves, tokens: jax.Array) -> jax.Array:
    batch, time = tokens.shape
    model = structure.model(leaves)
    window = structure.architecture.window
    hidden, _ = model(
        tokens, Recompute(batch=batch, visible=time, static_shape=False, window=window)
    )
    return model.logits(hidden)


@pytest.mark.parametrize("family", [*golden_files.FAMILIES, golden_files.WINDOWED])
def test_logits_match_transformers(family, tmp_path):
    golden = golden_files.load(family)
    convert(str(golden.folder), tmp_path / "checkpoint")
    loaded = load(Model(name=family, checkpoint=str(tmp_path / "checkpoint")), dtype=Dtype())
    tokens = np.zeros(
        (len(golden.prompts), max(map(len, golden.prompts))), np.int32
    )  # padded on the right
    for row, prompt in zip(tokens, golden.prompts, strict=True):
        row[: len(prompt)] = prompt
    logits = _logits(loaded.structure, loaded.leaves, jnp.asarray(tokens))
    for row, expected in zip(logits, golden.logits, strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=0, atol=TOLERANCE)
