"""Where every array of a run lies on a mesh of devices: names to axes, axes to the mesh.

The rest is GSPMD's: weights, caches and batches are put here, and what a program computes follows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Shaped

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.mesh import DATA, TENSOR, Cut, MeshSpec, partition

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
# Any row may have any page: rows are no axis of a pool.
_POOL: Axes = ("kv_heads", None, None, None)
_BUFFERS = ("keys", "values", "prompt_keys", "prompt_values", "new_keys", "new_values")
_ARRAYS: dict[str, Axes] = {
    "keys": _NHD,
    "values": _NHD,
    **{f"{name}.nhd": _NHD for name in _BUFFERS},
    **{f"{name}.hnd": _HND for name in _BUFFERS},
    "pools.keys": _POOL,
    "pools.values": _POOL,
    "pools.pages": (None, None, "kv_heads", None),
    **dict.fromkeys(("slots", "new_positions", "table", "sequence"), _ROWS),
    **dict.fromkeys(("lengths", "prompt_lengths", "ends", "done", "rows"), _ROWS[:1]),
    **dict.fromkeys(("step", "seed", "captured.step"), ()),
    "captured.values": (None, "batch", None, None),
}
"""The axes of every array of the caches and of a batch's state, by its path without numbers."""

_MESH_AXIS = {
    "batch": DATA,
    **dict.fromkeys(("heads", "kv_heads", "intermediate", "vocab", "table"), TENSOR),
}
"""The mesh's axis along which each axis of a model is cut; one without a row here is never cut."""


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
        """Return those axes of the model that may be cut."""
        return tuple(_MESH_AXIS)

    def weight(self, name: str) -> NamedSharding:
        """Return the sharding of the parameter of a name."""
        return self.sharding(_weight_axes(name), None)

    def shardings(self, tree: Any) -> Any:
        """Return a tree of shardings, one for every array of caches and states.

        An array by itself, which has no path, is whole everywhere.
        """

        def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            axes = _array_axes(path, np.ndim(leaf))
            return self.sharding(axes, np.shape(leaf))

        return jax.tree_util.tree_map_with_path(of, tree)

    def residual(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Lay the activations between two layers out by rows; to be called inside a trace."""
        # Whole on each device of a group, whatever the table that they come from is cut along.
        sharding = self.sharding(("batch",), x.shape)
        return jax.lax.with_sharding_constraint(x, sharding)

    def constrain(self, tree: Any) -> Any:
        """Lay out where it belongs what a program returns; to be called inside a trace."""
        shardings = self.shardings(tree)
        return jax.tree.map(jax.lax.with_sharding_constraint, tree, shardings)

    def sharding(self, axes: Axes, shape: tuple[int, ...] | None) -> NamedSharding:
        """Return the sharding of an array with these axes.

        Args:
            axes: the model's name of each axis; null for one that is never cut.
            shape: of the array, where a batch may have a single row, which is then whole on every
                device.
        """
        names = [self._mesh_axis(axis) for axis in axes]
        if shape is not None:
            for number, (axis, size) in enumerate(zip(axes, shape, strict=False)):
                if axis == "batch" and size % self.cut.batch:
                    names[number] = None
        # Equal shardings have to be equal specs: a trailing null says nothing.
        while names and names[-1] is None:
            names.pop()
        return NamedSharding(self.mesh, PartitionSpec(*names))

    def _mesh_axis(self, axis: str | None) -> str | None:
        if axis is None or self.cut.of(axis) == 1:
            return None
        return _MESH_AXIS.get(axis)


def layout_of(mesh: MeshSpec, architecture: Architecture) -> Layout | None:
    """Return the layout of a model on the devices that there are; null on a single one.

    Raises:
        UserError: there are not so many devices, or the model cannot be cut so.
    """
    if mesh.devices == 1:
        return None
    devices = jax.devices()
    _check_devices(mesh, devices)
    device_mesh = jax.make_mesh(
        (mesh.data, mesh.tensor),
        (DATA, TENSOR),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices[: mesh.devices],
    )
    return Layout(mesh=device_mesh, cut=partition(mesh, architecture))


def shardings_of(mesh: MeshSpec) -> Callable[[Architecture], Callable[[str], NamedSharding]] | None:
    """Return where the parameters of an architecture go, by name; null on a single device."""
    if mesh.devices == 1:
        return None

    def of(architecture: Architecture) -> Callable[[str], NamedSharding]:
        layout = layout_of(mesh, architecture)
        assert layout is not None, "the mesh has several devices"
        return layout.weight

    return of


def put(array: Any, layout: Layout | None, *axes: str | None) -> jax.Array:
    """Put a host's array where it belongs; nothing is compiled for that.

    Args:
        array: on the host.
        layout: of the mesh; null puts it on the first device.
        axes: the model's names of the array's first axes.
    """
    if layout is None:
        return jax.device_put(array, jax.devices()[0])
    host = np.asarray(array)
    return put_sharded(host, layout.sharding(axes, host.shape))


def put_sharded(host: np.ndarray, sharding: jax.sharding.Sharding) -> jax.Array:
    """Put a host's array where a sharding says; each device gets its part alone."""
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def on_host(array: Any) -> Shaped[np.ndarray, "..."]:
    """Return all of an array; where other processes hold parts of it, all must ask for it."""
    is_here = True
    if isinstance(array, jax.Array):
        is_here = array.is_fully_addressable or array.is_fully_replicated
    if not is_here:
        array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


def device_bytes(arrays: Any) -> int:
    """Return how many bytes of the arrays of a tree the first of their devices holds."""
    shards = [leaf.addressable_shards[0] for leaf in jax.tree.leaves(arrays)]
    return sum(shard.data.nbytes for shard in shards)


def _weight_axes(name: str) -> Axes:
    """Return the axes of a parameter.

    A scale of quantised numbers follows the axis that it has one number for.
    """
    owner, kind = ["", *name.split(".")][-2:]
    if kind in ("embedding", "head"):
        return _TABLE
    if kind in ("embedding_scale", "head_scale"):
        return _TABLE[:1]
    axes = _LINEAR.get(owner, ())
    if kind == "kernel":
        return axes
    if kind == "kernel_rows":
        return axes[::-1]
    if kind in ("bias", "kernel_scale"):
        return axes[1:]
    return ()


def _array_axes(path: tuple[Any, ...], ndim: int) -> Axes:
    """Return the axes of an array by its path; one with fewer axes has the first of them."""
    attributes = [part for part in path if isinstance(part, jax.tree_util.GetAttrKey)]
    names = [str(attribute.name) for attribute in attributes]
    if not names:
        return ()
    # `keys.hnd.scales` is not in the table, `keys.hnd` is: the longest beginning counts.
    for end in range(len(names), 0, -1):
        axes = _ARRAYS.get(".".join(names[:end]))
        if axes is not None:
            return axes[:ndim]
    raise KeyError(
        f"no axes are known of {jax.tree_util.keystr(path)}: add them to models/sharding.py"
    )


def _check_devices(mesh: MeshSpec, devices: list[Any]) -> None:
    """Refuse more devices than there are, and a mesh that leaves some process without any."""
    platform = devices[0].platform
    count = len(devices)
    asked = f"mesh.data={mesh.data} x mesh.tensor={mesh.tensor}"
    if mesh.devices > count:
        remedy = "lower them"
        if platform == "cpu":
            remedy += f", or let the process begin with JAX_NUM_CPU_DEVICES={mesh.devices}"
        raise UserError(
            f"{asked} needs {mesh.devices} devices, and there are {count} ({platform}); {remedy}"
        )
    if jax.process_count() > 1 and mesh.devices < count:
        raise UserError(
            f"{asked} takes {mesh.devices} of the {count} devices that {jax.process_count()} "
            "processes have: every process must have its part; use all devices"
        )
