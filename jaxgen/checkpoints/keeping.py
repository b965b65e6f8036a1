"""How a tensor of a checkpoint is kept on the device: cast, or quantised to int8 with scales."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Sharding
from jaxtyping import Array, Float

from jaxgen.models.structure import Structure
from jaxgen.ops.quantisation import quantise
from jaxgen.specs.dtype import Int8

_KERNEL = ".kernel"


def kept(
    name: str,
    tensor: Float[Array, "..."],
    *,
    structure: Structure,
    dtype: str,
    sharding_of: Callable[[str], Sharding] | None = None,
) -> dict[str, Array]:
    """The leaves that a tensor becomes, by name: one, or rows of int8 and their scales.

    Args:
        name: of the tensor in a checkpoint, all of whose tensors are floating.
        tensor: its numbers.
        structure: of the model that is loaded.
        dtype: of a leaf that stays floating.
        sharding_of: where the parameter of a name goes; null leaves it where the tensor's numbers are.
    """
    found = _as_kept(name, tensor, structure=structure, dtype=dtype)
    if sharding_of is None:
        return found
    return {each: jax.device_put(leaf, sharding_of(each)) for each, leaf in found.items()}


def _as_kept(
    name: str, tensor: Float[Array, "..."], *, structure: Structure, dtype: str
) -> dict[str, Array]:
    if structure.int8 is not Int8.none and name.endswith(_KERNEL):
        rows, scale = _quantised(tensor, turned=True)
        return {f"{name}_rows": rows, f"{name}_scale": scale}
    if f"{name}_scale" in structure.names:
        rows, scale = _quantised(tensor, turned=False)
        return {name: rows, f"{name}_scale": scale}
    return {name: tensor if tensor.dtype == jnp.dtype(dtype) else tensor.astype(dtype)}


@functools.partial(jax.jit, static_argnames="turned")  # one compile for each shape and dtype
def _quantised(tensor: Float[Array, "..."], *, turned: bool) -> tuple[Array, Array]:
    rows, scales = quantise(tensor.T if turned else tensor)
    return rows, scales[..., 0]
