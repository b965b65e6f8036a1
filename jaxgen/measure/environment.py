"""Where a measurement was taken: captured inside the worker, so that it is what the arm really ran with."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax
import psutil

PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "transformers")
CONFIG = (
    "jax_default_matmul_precision",
    "jax_enable_x64",
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)


def capture() -> dict[str, Any]:
    """Versions, devices, processor, flags and code, as plain data; what cannot be had is null."""
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "backend_version": device.client.platform_version,
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "xla_flags": os.environ.get("XLA_FLAGS"),
        "jax_environment": {key: value for key, value in sorted(os.environ.items()) if key.startswith("JAX_")},
        "jax_config": {name: _plain(getattr(jax.config, name, None)) for name in CONFIG},
        "git": _git(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def _git() -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout that jaxgen runs from; null when it is installed from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit, status = (_git_says(root, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    return None if commit is None else {"commit": commit, "dirty": bool(status)}


def _git_says(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
