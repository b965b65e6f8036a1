"""How a tensor of a checkpoint becomes leaves on the device: cast, or int8 numbers and scales."""

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


def as_leaves(
    name: str,
    tensor: Float[Array, "..."],
    *,
    structure: Structure,
    dtype: str,
    sharding_of: Callable[[str], Sharding] | None = None,
) -> dict[str, Array]:
    """Return the leaves that a tensor becomes, by name: one, or rows of int8 and their scales.

    Args:
        name: of the tensor in a checkpoint, all of whose tensors are floating.
        tensor: its numbers.
        structure: of the model that is loaded.
        dtype: of a leaf that stays floating.
        sharding_of: where the parameter of a name goes; null leaves it where the tensor's numbers
            are.
    """
    leaves = _cast_or_quantised(name, tensor, structure=structure, dtype=dtype)
    if sharding_of is None:
        return leaves
    placed = {}
    for leaf_name, leaf in leaves.items():
        placed[leaf_name] = jax.device_put(leaf, sharding_of(leaf_name))
    return placed


def _cast_or_quantised(
    name: str, tensor: Float[Array, "..."], *, structure: Structure, dtype: str
) -> dict[str, Array]:
    # A kernel is (in, out); as int8 it is stored by rows, one for each output channel.
    if structure.int8 is not Int8.none and name.endswith(_KERNEL):
        rows, scale = _quantised(tensor, transposed=True)
        return {f"{name}_rows": rows, f"{name}_scale": scale}
    # The table of the logits has its rows already.
    if f"{name}_scale" in structure.names:
        rows, scale = _quantised(tensor, transposed=False)
        return {name: rows, f"{name}_scale": scale}
    if tensor.dtype == jnp.dtype(dtype):
        return {name: tensor}
    return {name: tensor.astype(dtype)}


@functools.partial(jax.jit, static_argnames="transposed")  # one compile for each shape and dtype
def _quantised(tensor: Float[Array, "..."], *, transposed: bool) -> tuple[Array, Array]:
    rows, scales = quantise(tensor.T if transposed else tensor)
    return rows, scales[..., 0]
