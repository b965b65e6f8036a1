"""Activations kept of every step: buffers that the programs write beside the tokens, and the file they end in."""

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
    """Preallocated, like a fixed cache: nothing grows.

    Attributes:
        values: one buffer per site, in the order of the spec: its layers, rows, steps and hidden size.
        step: how many steps are written. Step s is the position that the new token s was predicted from.
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
        """Buffers for `steps` new tokens of `rows` rows, on the device; null where nothing is captured.

        Raises:
            UserError: the model has no such layer.
        """
        if not capture.layers:
            return None
        missing = [layer for layer in capture.layers if layer >= architecture.num_layers]
        if missing:
            raise UserError(
                f"workload.capture.layers has {missing}, and the model's layers are 0 to {architecture.num_layers - 1}"
            )
        shape = (len(capture.layers), rows, steps, architecture.hidden_size)
        values = tuple(
            put(np.zeros(shape, jnp.dtype(dtype)), layout, None, "batch") for _ in capture.sites
        )
        return cls(values=values, step=put(np.int32(0), layout))

    def with_step(self, capture: Capture, taken: "Taps", positions: Int[Array, "B"]) -> Self:
        """One more step, of what was taken at each row's position."""
        values = []
        for site, buffer in zip(capture.sites, self.values, strict=True):
            layers = [
                jnp.take_along_axis(
                    taken.arrays[site.value, layer], positions[:, None, None], axis=1
                )
                for layer in capture.layers
            ]  # B 1 D each
            values.append(
                jax.lax.dynamic_update_slice_in_dim(buffer, jnp.stack(layers), self.step, axis=2)
            )
        return dataclasses.replace(self, values=tuple(values), step=self.step + 1)


class Taps:
    """Takes the activations that a capture asks for out of a model that is being traced.

    Attributes:
        arrays: by (site, layer).
    """

    def __init__(self, capture: Capture):
        self._wanted = {(site.value, layer) for site in capture.sites for layer in capture.layers}
        self.arrays: dict[tuple[str, int], Array] = {}

    def __call__(self, site: str, layer: int, activations: Array) -> None:
        """Keep what is asked for."""
        if (site, layer) in self._wanted:
            self.arrays[site, layer] = activations


def save(
    path: Path,
    capture: Capture,
    batches: Sequence[tuple[Captured, int]],
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Write a safetensors file with one tensor (layers, rows, steps, hidden) per site, and beside it `<path>.json`.

    Args:
        path: of the tensors.
        capture: what was asked for.
        batches: what was kept of each, and how many prompts are its first rows; the others only fill it up.
        rows: the answers of all batches in order, with `prompt_tokens` and `tokens`.

    Returns:
        `{file, index, bytes, bytes_per_row}`.

    Raises:
        OSError: it cannot be written.
    """
    steps = max(each.values[0].shape[2] for each, _ in batches)
    tensors = {}
    for number, site in enumerate(capture.sites):
        parts = [
            on_host(each.values[number].astype(jnp.float32))[:, :prompts]
            for each, prompts in batches
        ]
        wide = [
            np.pad(each, ((0, 0), (0, 0), (0, steps - each.shape[2]), (0, 0))) for each in parts
        ]
        whole = np.concatenate(wide, axis=1)
        for row, answer in enumerate(rows):
            whole[:, row, len(answer["tokens"]) :] = (
                np.nan
            )  # never computed, or computed for a row that had ended
        tensors[site.value] = whole
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path))
    index = path.with_suffix(".json")
    index.write_text(
        json.dumps(_index(capture, rows, steps=steps), indent=2) + "\n", encoding="utf-8"
    )
    nbytes = sum(tensor.nbytes for tensor in tensors.values())
    return {
        "file": path.name,
        "index": index.name,
        "bytes": nbytes,
        "bytes_per_row": nbytes // len(rows),
    }


def _index(capture: Capture, rows: Sequence[dict[str, Any]], *, steps: int) -> dict[str, Any]:
    return {
        "axes": ["layer", "row", "step", "hidden"],
        "layers": list(capture.layers),
        "sites": [site.value for site in capture.sites],
        "steps": steps,
        "unwritten": "NaN",
        "rows": [
            {
                "index": row["index"],
                "tokens": row["tokens"],
                "positions": [
                    len(row["prompt_tokens"]) - 1 + step for step in range(len(row["tokens"]))
                ],
            }
            for row in rows
        ],
    }
