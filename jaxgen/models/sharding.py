"""Where every array of a run lies on a mesh of devices. The one place that knows: names to axes, axes to the mesh.

The rest is GSPMD's: weights, caches and batches are put here, and what a program computes follows them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.mesh import DATA, TENSOR, Cut, MeshSpec, cut

Axes = tuple[str | None, ...]

_LINEAR: dict[str, tuple[str, str]] = {
    "q": ("hidden", "heads"),
    "k": ("hidden", "kv_heads"),
    "v": ("hidden", "kv_heads"),
    "o": ("heads", "hidden"),
    "gate": ("hidden", "intermediate"),
    "up": ("hidden", "intermediate"),
    "down": ("intermediate", "hidden"),
}
"""The axes of each projection's kernel, (in, out)."""

_TABLE: Axes = ("vocab", "table")

_ROWS: Axes = ("batch", None)
_NHD: Axes = ("batch", None, "kv_heads", None)
_HND: Axes = ("batch", "kv_heads", None, None)
_BUFFERS = ("keys", "values", "prompt_keys", "prompt_values", "new_keys", "new_values")
_ARRAYS: dict[str, Axes] = {
    "keys": _NHD,
    "values": _NHD,
    **{f"{name}.nhd": _NHD for name in _BUFFERS},
    **{f"{name}.hnd": _HND for name in _BUFFERS},
    "pools.keys": (
        "kv_heads",
        None,
        None,
        None,
    ),  # any row may have any page: rows are no axis of a pool
    "pools.values": ("kv_heads", None, None, None),
    "pools.pages": (None, None, "kv_heads", None),
    **dict.fromkeys(("slots", "new_positions", "table", "sequence"), _ROWS),
    **dict.fromkeys(("lengths", "prompt_lengths", "ends", "done", "rows"), _ROWS[:1]),
    **dict.fromkeys(("step", "seed", "captured.step"), ()),
    "captured.values": (None, "batch", None, None),
}
"""The axes of every array of the caches and of a batch's state, by its path without numbers."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A model on a mesh; hashable.

    Attributes:
        mesh: its devices, along `data` and `tensor`.
        cut: in how many parts each axis of the model is cut.
    """

    mesh: jax.sharding.Mesh
    cut: Cut

    @property
    def axes(self) -> tuple[str, ...]:
        """Those of the model that may be cut."""
        return tuple(_MESH_AXIS)

    def weight(self, name: str) -> NamedSharding:
        """Of the parameter of a name."""
        return self.sharding(_weight_axes(name), None)

    def shardings(self, tree: Any) -> Any:
        """Of every array of caches and states in the shape of the tree; an array by itself is whole everywhere."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: self.sharding(_axes(path, np.ndim(leaf)), np.shape(leaf)), tree
        )

    def residual(self, x: jax.Array) -> jax.Array:
        """Activations between the layers: a group's rows, whole on each of its devices, whatever the table that they
        come from is cut along. To be called inside a trace."""
        return jax.lax.with_sharding_constraint(x, self.sharding(("batch",), x.shape))

    def constrain(self, tree: Any) -> Any:
        """The tree as it is, but lying where it belongs: for what a program returns. To be called inside a trace."""
        return jax.tree.map(jax.lax.with_sharding_constraint, tree, self.shardings(tree))

    def sharding(self, axes: Axes, shape: tuple[int, ...] | None) -> NamedSharding:
        """Of an array with these axes; a batch of a single row is whole on every device."""
        names = [
            _MESH_AXIS.get(axis or "") if self.cut.of(axis or "") > 1 else None for axis in axes
        ]
        if shape is not None:
            sizes = zip(names, axes, shape, strict=False)
            names = [
                None if axis == "batch" and size % self.cut.batch else name
                for name, axis, size in sizes
            ]
        while names and names[-1] is None:
            names.pop()
        return NamedSharding(self.mesh, PartitionSpec(*names))


_MESH_AXIS = {
    "batch": DATA,
    **dict.fromkeys(("heads", "kv_heads", "intermediate", "vocab", "table"), TENSOR),
}
"""The mesh's axis along which each axis of a model is cut; one without a row here is never cut."""


def layout_of(mesh: MeshSpec, architecture: Architecture) -> Layout | None:
    """The layout of a model on the devices that there are; null on a single one.

    Raises:
        UserError: there are not so many devices, or the model cannot be cut so.
    """
    if mesh.devices == 1:
        return None
    there = jax.devices()
    if mesh.devices > len(there):
        raise UserError(
            f"mesh.data={mesh.data} x mesh.tensor={mesh.tensor} needs {mesh.devices} devices, and there are "
            f"{len(there)} ({there[0].platform}); lower them{_more(there[0].platform, mesh.devices)}"
        )
    if jax.process_count() > 1 and mesh.devices < len(there):
        raise UserError(
            f"mesh.data={mesh.data} x mesh.tensor={mesh.tensor} takes {mesh.devices} of the {len(there)} devices that "
            f"{jax.process_count()} processes have: every process must have its part; use all devices"
        )
    shape = (mesh.data, mesh.tensor)
    made = jax.make_mesh(
        shape, (DATA, TENSOR), axis_types=(AxisType.Auto,) * 2, devices=there[: mesh.devices]
    )
    return Layout(mesh=made, cut=cut(mesh, architecture))


def shardings_of(mesh: MeshSpec) -> Callable[[Architecture], Callable[[str], NamedSharding]] | None:
    """Of an architecture, where the parameter of a name goes; null on a single device."""
    if mesh.devices == 1:
        return None

    def of(architecture: Architecture) -> Callable[[str], NamedSharding]:
        layout = layout_of(mesh, architecture)
        assert layout is not None
        return layout.weight

    return of


def put(array: Any, layout: Layout | None, *axes: str | None) -> jax.Array:
    """A host's array on the first device, or where a layout has the first of its axes; nothing is compiled for that."""
    if layout is None:
        return jax.device_put(array, jax.devices()[0])
    host = np.asarray(array)
    return jax.make_array_from_callback(
        host.shape, layout.sharding(axes, host.shape), lambda index: host[index]
    )


def on_host(array: Any) -> np.ndarray:
    """All of an array, whoever holds its parts. Where other processes hold some, all processes must ask for it."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def device_bytes(arrays: Any) -> int:
    """Of the arrays of a tree what the first of their devices holds."""
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(arrays))


def _weight_axes(name: str) -> Axes:
    """Of a parameter. A scale of quantised numbers follows the axis that it has one number for."""
    owner, kind = ["", *name.split(".")][-2:]
    if kind in ("embedding", "head"):
        return _TABLE
    if kind in ("embedding_scale", "head_scale"):
        return _TABLE[:1]
    if owner in _LINEAR and kind == "kernel":
        return _LINEAR[owner]
    if owner in _LINEAR and kind == "kernel_rows":
        return _LINEAR[owner][::-1]
    if owner in _LINEAR and kind in ("bias", "kernel_scale"):
        return _LINEAR[owner][1:]
    return ()


def _axes(path: tuple[Any, ...], ndim: int) -> Axes:
    """Of an array by its path; below a known path, an array with fewer axes has the first of them."""
    names = [str(part.name) for part in path if isinstance(part, jax.tree_util.GetAttrKey)]
    if not names:
        return ()
    for end in range(len(names), 0, -1):
        known = _ARRAYS.get(".".join(names[:end]))
        if known is not None:
            return known[:ndim]
    raise KeyError(
        f"no axes are known of {jax.tree_util.keystr(path)}: add them to models/sharding.py"
    )


def _more(platform: str, devices: int) -> str:
    return (
        f", or let the process begin with JAX_NUM_CPU_DEVICES={devices}"
        if platform == "cpu"
        else ""
    )
