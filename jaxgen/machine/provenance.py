"""Which code on which machine, as far as it can be told without jax."""

import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("jaxgen", "jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "transformers")


def packages() -> dict[str, str | None]:
    """Return the versions of the packages that matter; null where one is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str | None:
    """Return the processor's name as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return None


def git() -> dict[str, Any] | None:
    """`{commit, dirty, diff_sha256}` of the checkout that jaxgen runs from; null when it is
    installed from a wheel.

    The hash is the first 16 digits of that of all changes that were not committed; null where there
    are none, or they cannot be had.
    """
    root = Path(__file__).resolve().parents[2]
    # Without this check git would look further up, and name some other project's commit.
    if not (root / ".git").exists():
        return None
    commit = _git_says(root, "rev-parse", "HEAD")
    status = _git_says(root, "status", "--porcelain")
    if commit is None:
        return None
    return {
        "commit": commit,
        # Where git does not answer in time, nobody knows: that is no clean checkout.
        "dirty": None if status is None else bool(status),
        "diff_sha256": _changes(root) if status else None,
    }


def _changes(root: Path) -> str | None:
    """Return the hash of what differs from the commit.

    That is git's own diff, and the files of jaxgen that git does not know.
    """
    diff = _git_says(root, "diff", "HEAD", "--binary", "--no-ext-diff")
    new = _git_says(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "jaxgen")
    if diff is None or new is None:
        return None
    changes = hashlib.sha256(diff.encode())
    for name in filter(None, new.split("\0")):
        # The name belongs to it: a file moved is a change, and \0 keeps name and contents apart.
        contents = (root / name).read_bytes()
        changes.update(name.encode() + b"\0" + contents)
    return changes.hexdigest()[:16]


def _git_says(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
