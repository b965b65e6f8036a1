"""Which code on which machine, as far as it can be told without jax."""

import hashlib
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
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None
    )


def git() -> dict[str, Any] | None:
    """`{commit, dirty, diff_sha256}` of the checkout that jaxgen runs from; null when it is
    installed from a wheel.

    The hash is the first 16 digits of that of all changes that were not committed; null where there
    are none, or they cannot be had.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit, status = (
        _git_says(root, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
    )
    if commit is None:
        return None
    return {
        "commit": commit,
        "dirty": bool(status),
        "diff_sha256": _changes(root) if status else None,
    }


def _changes(root: Path) -> str | None:
    """The hash of what differs from the commit: git's own diff, and jaxgen's files that git does not know."""
    diff = _git_says(root, "diff", "HEAD", "--binary", "--no-ext-diff")
    new = _git_says(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "jaxgen")
    if diff is None or new is None:
        return None
    told = hashlib.sha256(diff.encode())
    for name in filter(None, new.split("\0")):
        told.update(name.encode() + b"\0" + (root / name).read_bytes())
    return told.hexdigest()[:16]


def _git_says(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
