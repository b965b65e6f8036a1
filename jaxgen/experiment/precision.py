"""What an arm really computes in: its own dtypes, and what the device makes of them."""

from collections.abc import Mapping
from typing import Any

from jaxgen.specs.arm import Arm

_KNOBS = ("weights", "activations", "kv", "logits")

_PRODUCT_DTYPES = {"gpu": "tensorfloat32", "tpu": "bfloat16"}
"""What JAX's default precision makes of float32 operands of a matrix product, by platform
(`jax.lax.Precision`)."""
_FULL_PRECISION = ("highest", "float32")


def computed_in(arm: Arm, environment: Mapping[str, Any]) -> list[str]:
    """Return the names of all dtypes that an arm stores or computes in.

    Args:
        arm: with its four dtype knobs.
        environment: of its worker; on a GPU or TPU, products of float32 are made of narrower parts.
    """
    dtype = arm.run.dtype
    names = [getattr(dtype, knob).value for knob in _KNOBS]
    platform = environment.get("platform", "cpu")
    product_dtype = _PRODUCT_DTYPES.get(platform)
    jax_config = environment.get("jax_config") or {}
    precision = jax_config.get("jax_default_matmul_precision")
    operands = (dtype.activations.value, dtype.logits.value)
    if product_dtype and "float32" in operands and precision not in _FULL_PRECISION:
        names.append(product_dtype)
    return names
