"""Code of other commits in real workers: a gate against one, a bisection, and Ctrl-C."""

import json
import signal
import subprocess
import sys
import time

import pytest

from support.small_runs import SMALL
from support.throwaway_repository import commit, git, of_jaxgen, slow_down

pytestmark = pytest.mark.slow

SLEEP_S = 0.4
"""Far more than a call of the smallest model takes, on a machine however busy."""


# Where a shell has started the tests in the background, SIGINT is ignored in all that they start.
_MODULE = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""`python -m MODULE ...`, with Ctrl-C."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Three commits of jaxgen: as it is, slowed down, and one more."""
    root = of_jaxgen(tmp_path_factory.mktemp("repository"))
    slow_down(root, SLEEP_S)
    (root / "notes").write_text("nothing that runs")
    commit(root, "notes")
    return root


def start(repository, module, *words):
    return subprocess.Popen(
        [sys.executable, "-c", _MODULE, module, *words],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def worktrees(repository):
    return git(repository, "worktree", "list").splitlines()


def test_today_s_code_against_a_commit(repository, tmp_path):
    gate = ("gate=regression", "gate.commit=HEAD~2", f"hydra.run.dir={tmp_path}/run")
    process = start(repository, "jaxgen", *SMALL, *gate)
    shown, _ = process.communicate()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (process.returncode, result["gate"]["status"]) == (10, "regression"), shown
    # Each worker says itself which code it ran.
    then = result["arms"]["baseline"]["environment"]["git"]
    assert then == {"commit": git(repository, "rev-parse", "HEAD~2"), "dirty": False} | {
        "diff_sha256": None
    }
    assert result["environment"]["git"]["commit"] == git(repository, "rev-parse", "HEAD")
    assert result["comparison"]["latency_s"]["ratio"] < 0.5
    assert result["agreement"]["status"] == "identical"
    assert len(worktrees(repository)) == 1
    assert git(repository, "status", "--short") == ""


def test_the_slow_commit_is_found_and_the_search_goes_on_where_it_was(repository, tmp_path):
    words = ("HEAD~2", "HEAD", *SMALL, "--out", str(tmp_path / "runs"))
    slow = git(repository, "rev-parse", "HEAD~1")
    for _ in range(2):
        process = start(repository, "jaxgen.bisect", *words)
        shown, _ = process.communicate()
        assert process.returncode == 0, shown
        assert f"first slow commit: {slow[:12]}" in shown
        assert "against its parent" in shown
        # The second command finds what the first one measured.
        assert len(list((tmp_path / "runs").iterdir())) == 2
    assert len(worktrees(repository)) == 1


def test_ctrl_c_leaves_no_worktree_behind(repository, tmp_path):
    gate = ("gate=regression", "gate.commit=HEAD~2", f"hydra.run.dir={tmp_path}/run")
    process = start(repository, "jaxgen", *SMALL, *gate)
    began_s = time.monotonic()
    while not (tmp_path / "run" / "result.json").exists() and time.monotonic() < began_s + 120:
        time.sleep(0.1)
    assert len(worktrees(repository)) == 2
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert len(worktrees(repository)) == 1


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["gate.commit=nowhere"], "error: gate.commit=nowhere is no commit of the repository"),
        (["process.source=/"], "error: process.source=/ has no jaxgen/__init__.py"),
    ],
)
def test_a_mistake_is_one_line(repository, words, fragment):
    gate = ["gate=regression"] if words[0].startswith("gate") else ["measure.isolation=separate"]
    process = start(repository, "jaxgen", *SMALL, *gate, *words)
    shown, _ = process.communicate()
    assert process.returncode == 1
    assert fragment in shown.splitlines()[-1]
    assert "Traceback" not in shown
