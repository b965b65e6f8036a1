"""Which code on which machine, as far as it can be told without jax."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "transformers")


def packages() -> dict[str, str | None]:
    """Versions; null where a package is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str | None:
    """As the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def git() -> dict[str, Any] | None:
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
