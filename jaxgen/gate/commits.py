"""Commits of the checkout that jaxgen runs from, each as a folder of its own for a while.

The user's checkout and index are only read: a commit is checked out into a worktree in a temporary
folder, which git forgets again when it is removed.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxgen.errors import UserError

_TIMEOUT_S = 120
_SHORT = 12  # digits of a commit where it is shown


def repository(key: str) -> Path:
    """Return the root of the checkout that jaxgen runs from.

    Args:
        key: what the user typed, for the message.

    Raises:
        UserError: jaxgen is installed from a wheel, or its folder is no git repository.
    """
    root = Path(__file__).resolve().parents[2]
    # Without this check git would look further up, and find some other project's commits.
    if not (root / ".git").exists():
        why = f"{root} is no git repository"
        if root.name == "site-packages":
            why = "this one is installed from a wheel"
        raise UserError(f"{key} needs a clone of jaxgen's repository to run from, and {why}")
    return root


def resolve(root: Path, revision: str, *, key: str) -> str:
    """Return the whole hash of a commit.

    Args:
        root: of the repository.
        revision: a hash, a branch, a tag, `HEAD~3`.
        key: what the user typed it for, for the message.

    Raises:
        UserError: there is no such commit, or git cannot be started.
    """
    done = run_git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    # What begins with a dash is an option to git, and none of them is a commit.
    if done.returncode or revision.startswith("-"):
        raise UserError(
            f"{key}={revision} is no commit of the repository in {root}; "
            "give a hash, a branch, a tag or HEAD~1"
        )
    return done.stdout.strip()


def is_ancestor(root: Path, older: str, newer: str) -> bool:
    """Return whether one commit is part of the history of another."""
    return run_git(root, "merge-base", "--is-ancestor", older, newer).returncode == 0


def between(root: Path, good: Sequence[str], bad: str) -> list[str]:
    """Return the commits that are in `bad` and in none of `good`, the best to try next in front.

    That is the order of `git bisect`: the nearer a commit is to half of the history, the earlier.

    Args:
        root: of the repository.
        good: at least one commit.
        bad: the commit whose history is halved; it is among those returned.
    """
    excluded = [f"^{commit}" for commit in good]
    done = run_git(root, "rev-list", "--bisect-all", bad, *excluded)
    commits = []
    for line in done.stdout.splitlines():
        commit, _, _ = line.partition(" ")
        commits.append(commit)
    return commits


def parent_of(root: Path, commit: str) -> str:
    """Return the first parent of a commit that has one."""
    return run_git(root, "rev-parse", f"{commit}^1").stdout.strip()


def described(root: Path, commit: str) -> str:
    """Return one line about a commit: its short hash, its date and what it says it does."""
    done = run_git(root, "show", "--no-patch", "--format=%cs %s", commit)
    return f"{short(commit)} {done.stdout.strip()}"


def short(commit: str) -> str:
    """Return the first digits of a commit, as it is shown."""
    return commit[:_SHORT]


@contextlib.contextmanager
def checked_out(root: Path, commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit; it is removed afterwards, however that comes.

    Args:
        root: of the repository.
        commit: its whole hash.

    Raises:
        UserError: git cannot check it out, as on a full disk.
    """
    with tempfile.TemporaryDirectory(prefix="jaxgen-commit-") as parent:
        # Reports name an arm by this folder.
        folder = Path(parent) / short(commit)
        try:
            # A hook of the user's own must not run for a folder that nobody works in.
            done = run_git(
                root,
                *("-c", "core.hooksPath=/dev/null"),
                *("worktree", "add", "--detach", "--quiet", str(folder), commit),
            )
            if done.returncode:
                reason = " ".join(done.stderr.split())
                raise UserError(f"commit {short(commit)} cannot be checked out: {reason}")
            yield folder
        finally:
            run_git(root, "worktree", "remove", "--force", "--force", str(folder))


def run_git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git in a repository; the caller looks at the exit code.

    Raises:
        UserError: git is not there, or does not answer.
    """
    # Inside a hook these would point git to another index or repository than the one in `root`.
    environment = {}
    for name, value in os.environ.items():
        if name not in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
            environment[name] = value
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env=environment,
            check=False,
            # Ctrl-C is for this process, which has the folder removed.
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"git cannot be asked about {root}: {error}") from error
