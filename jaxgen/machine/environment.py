"""Where a measurement was taken.

It is captured inside the worker, so that it is what the arm really ran with.
"""

import os
import platform
from typing import Any

import jax
import psutil

from jaxgen.machine import processor, provenance

CONFIG = (
    "jax_default_matmul_precision",
    "jax_enable_x64",
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)


def capture() -> dict[str, Any]:
    """Return versions, devices, processor, flags and code, as plain data.

    What is not known is null.
    """
    device = jax.devices()[0]
    jax_environment = {}
    for name, value in sorted(os.environ.items()):
        if name.startswith("JAX_"):
            jax_environment[name] = value
    return {
        "platform": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "backend_version": device.client.platform_version,
        "packages": provenance.packages(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": provenance.cpu_model(),
        "cores": os.cpu_count(),
        "processor": processor.facts(),
        "memory_bytes": psutil.virtual_memory().total,
        "xla_flags": os.environ.get("XLA_FLAGS"),
        "jax_environment": jax_environment,
        "jax_config": {name: _plain(getattr(jax.config, name, None)) for name in CONFIG},
        "git": provenance.git(),
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
