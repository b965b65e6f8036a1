"""Activations of every step: buffers that the programs write, and the file they end in."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from safetensors.numpy import save_file

from jaxgen.errors import UserError
from jaxgen.models.sharding import Layout, on_host, put
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.workload import Capture


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Captured:
    """Preallocated buffers, like a fixed cache: nothing grows.

    Attributes:
        values: one buffer per site, in the order of the spec: its layers, rows, steps and hidden
            size.
        step: how many steps are written. Step s is the position that the new token s was predicted
            from.
    """

    values: tuple[Float[Array, "L B S D"], ...]
    step: Int[Array, ""]

    @classmethod
    def empty(
        cls,
        capture: Capture,
        architecture: Architecture,
        *,
        rows: int,
        steps: int,
        dtype: str,
        layout: Layout | None,
    ) -> Self | None:
        """Return buffers on the device; null where nothing is captured.

        Args:
            capture: which activations.
            architecture: of the model.
            rows: of the batch.
            steps: new tokens of a row.
            dtype: of the activations.
            layout: of the mesh; null on a single device.

        Raises:
            UserError: the model has no such layer.
        """
        if not capture.layers:
            return None
        missing = []
        for layer in capture.layers:
            if layer >= architecture.num_layers:
                missing.append(layer)
        if missing:
            raise UserError(
                f"workload.capture.layers has {missing}, and the model's layers are 0 to "
                f"{architecture.num_layers - 1}"
            )
        shape = (
            len(capture.layers),
            rows,
            steps,
            architecture.hidden_size,
        )
        # All steps are allocated at once: a buffer that grows would be another program each step.
        zeros = np.zeros(shape, jnp.dtype(dtype))
        values = tuple(put(zeros, layout, None, "batch") for _ in capture.sites)
        return cls(values=values, step=put(np.int32(0), layout))

    def with_step(
        self,
        capture: Capture,
        taps: "Taps",
        positions: Int[Array, "B"],
    ) -> Self:
        """Return the buffers with one more step, of what was tapped at each row's position."""
        # In a prefill the last token of each prompt, in a step the one that there is.
        at = positions[:, None, None]
        values = []
        for site, buffer in zip(capture.sites, self.values, strict=True):
            layers = []
            for layer in capture.layers:
                activations = taps.arrays[site.value, layer]
                layers.append(jnp.take_along_axis(activations, at, axis=1))  # B 1 D
            # Of every row, those that have ended too: one index for all, and `save` makes NaN of
            # the rest.
            step = jnp.stack(layers)
            values.append(jax.lax.dynamic_update_slice_in_dim(buffer, step, self.step, axis=2))
        return dataclasses.replace(self, values=tuple(values), step=self.step + 1)


class Taps:
    """Takes the activations that a capture wants out of a model that is being traced.

    Attributes:
        arrays: by (site, layer).
    """

    def __init__(self, capture: Capture):
        self._wanted = {(site.value, layer) for site in capture.sites for layer in capture.layers}
        self.arrays: dict[tuple[str, int], Array] = {}

    def __call__(self, site: str, layer: int, activations: Array) -> None:
        """Keep the activations if they are wanted."""
        # Only what is wanted stays alive in the traced program.
        if (site, layer) in self._wanted:
            self.arrays[site, layer] = activations


def save(
    path: Path,
    capture: Capture,
    batches: Sequence[tuple[Captured, int]],
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Write the activations of all batches.

    The safetensors file has one tensor (layers, rows, steps, hidden) per site; beside it lies
    `<path>.json`.

    Args:
        path: of the tensors.
        capture: which activations.
        batches: the buffers of each, and how many prompts are its first rows; the others only fill
            it up.
        rows: the outputs of all batches in order, with `prompt_tokens` and `tokens`.

    Returns:
        `{file, index, bytes, bytes_per_row}`.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {
        site.value: _joined(number, batches, rows) for number, site in enumerate(capture.sites)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path))
    index = path.with_suffix(".json")
    steps = tensors[capture.sites[0].value].shape[2]
    facts = json.dumps(_index(capture, rows, steps=steps), indent=2)
    index.write_text(facts + "\n", encoding="utf-8")
    nbytes = sum(tensor.nbytes for tensor in tensors.values())
    return {
        "file": path.name,
        "index": index.name,
        "bytes": nbytes,
        "bytes_per_row": nbytes // len(rows),
    }


def _joined(
    site: int,
    batches: Sequence[tuple[Captured, int]],
    rows: Sequence[dict[str, Any]],
) -> np.ndarray:
    """One site's activations of all batches, padded to the same number of steps."""
    steps = max(captured.values[0].shape[2] for captured, _ in batches)
    parts = []
    for captured, prompts in batches:
        # safetensors has no bfloat16 in numpy, so all become float32.
        part = on_host(captured.values[site].astype(jnp.float32))[:, :prompts]
        # Batches may differ in steps where prompts have limits of their own.
        missing = steps - part.shape[2]
        parts.append(
            np.pad(
                part,
                ((0, 0), (0, 0), (0, missing), (0, 0)),
            )
        )
    tensor = np.concatenate(parts, axis=1)
    for number, row in enumerate(rows):
        # Never computed, or computed for a row that had ended.
        tensor[:, number, len(row["tokens"]) :] = np.nan
    return tensor


def _index(
    capture: Capture,
    rows: Sequence[dict[str, Any]],
    *,
    steps: int,
) -> dict[str, Any]:
    """What the axes of the tensors stand for."""
    row_facts = []
    for row in rows:
        # The first new token is predicted at the prompt's last position.
        first = len(row["prompt_tokens"]) - 1
        positions = list(range(first, first + len(row["tokens"])))
        row_facts.append(
            {
                "index": row["index"],
                "tokens": row["tokens"],
                "positions": positions,
            }
        )
    return {
        "axes": ["layer", "row", "step", "hidden"],
        "layers": list(capture.layers),
        "sites": [site.value for site in capture.sites],
        "steps": steps,
        "unwritten": "NaN",
        "rows": row_facts,
    }
