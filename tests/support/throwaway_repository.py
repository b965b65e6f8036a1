"""A git repository of today's jaxgen in a temporary folder, for tests that need several commits."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("jaxgen", "conf")
_TIMED = "        jax.block_until_ready((cache, state))\n"
"""The end of the timed part of a generation, in workloads/generate.py."""


def git(root: Path, *words: str) -> str:
    """Run git in a repository; return what it printed."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(root: Path, message: str) -> str:
    """Commit everything; return the hash."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)
    return git(root, "rev-parse", "HEAD")


def bare(folder: Path) -> Path:
    """A repository with one file in one commit, for what git alone decides."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "file").write_text("1")
    commit(folder, "first")
    return folder


def of_jaxgen(folder: Path) -> Path:
    """A repository with the code and the configuration of this checkout in one commit."""
    for part in _PARTS:
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    (folder / ".gitignore").write_text("__pycache__/\nruns/\n")
    git(folder, "init", "--quiet")
    commit(folder, "today's code")
    return folder


def slow_down(root: Path, seconds: float) -> str:
    """Let every generation sleep inside its clock, and commit that; return the hash."""
    path = root / "jaxgen" / "workloads" / "generate.py"
    text = path.read_text()
    assert text.count(_TIMED) == 1, "the timed part of a generation has moved"
    path.write_text(text.replace(_TIMED, f"{_TIMED}        time.sleep({seconds})\n"))
    return commit(root, f"sleep for {seconds} s")
