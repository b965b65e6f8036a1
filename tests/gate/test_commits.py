"""Commits as folders: found by any name, removed whatever happens, the checkout left alone."""

import os

import pytest

from jaxgen.errors import UserError
from jaxgen.gate import commits
from support.throwaway_repository import bare, commit, git


@pytest.fixture
def root(tmp_path):
    return bare(tmp_path / "repository")


def state(root):
    """What must not change: the checkout, the index and the worktrees."""
    index = (root / ".git" / "index").read_bytes()
    shown = [git(root, *words.split()) for words in ("status --short", "worktree list", "log -1")]
    return index, shown, sorted(path.name for path in root.iterdir())


def test_a_commit_is_found_by_any_of_its_names(root):
    first = git(root, "rev-parse", "HEAD")
    (root / "file").write_text("2")
    second = commit(root, "second")
    git(root, "tag", "v1", first)
    found = [commits.resolve(root, name, key="gate.commit") for name in ("v1", "HEAD~1", first[:9])]
    assert found == [first] * 3
    assert commits.resolve(root, "HEAD", key="gate.commit") == second


@pytest.mark.parametrize("revision", ["nowhere", "HEAD~7", "--all", "", "HEAD:file"])
def test_what_is_no_commit_is_one_line_with_the_key(root, revision):
    with pytest.raises(UserError) as refused:
        commits.resolve(root, revision, key="gate.commit")
    message = str(refused.value)
    assert message.startswith(f"gate.commit={revision} is no commit of the repository in {root}")
    assert "\n" not in message


def test_the_folder_has_the_commit_s_files_and_goes_away(root):
    first = git(root, "rev-parse", "HEAD")
    (root / "file").write_text("2")
    commit(root, "second")
    (root / "file").write_text("3, not committed")
    (root / "new").write_text("unknown to git")
    before = state(root)
    with commits.checked_out(root, first) as folder:
        assert (folder / "file").read_text() == "1"
        assert folder.name == first[:12]
    assert not folder.parent.exists()
    assert state(root) == before
    assert (root / "file").read_text() == "3, not committed"


@pytest.mark.parametrize("ending", [KeyboardInterrupt, UserError, RuntimeError])
def test_the_folder_goes_away_however_it_ends(root, ending):
    folders = []

    def work():
        with commits.checked_out(root, "HEAD") as folder:
            folders.append(folder)
            raise ending

    with pytest.raises(ending):
        work()
    assert not folders[0].parent.exists()
    assert len(git(root, "worktree", "list").splitlines()) == 1


def test_what_is_between_is_halved_as_git_bisect_does(root):
    first = git(root, "rev-parse", "HEAD")
    history = [commit(root, f"number {number}") for number in range(8)]
    left = commits.between(root, [first], history[-1])
    assert set(left) == set(history)
    assert left[0] in history[3:5]
    assert set(commits.between(root, [first, history[3]], history[-2])) == set(history[4:7])
    assert commits.is_ancestor(root, first, history[-1])
    assert not commits.is_ancestor(root, history[-1], first)
    assert commits.parent_of(root, history[4]) == history[3]
    assert commits.described(root, history[4]).endswith(" number 4")


def test_a_hook_of_the_user_s_is_not_run(root):
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {root}/ran\n")
    hook.chmod(0o755)
    with commits.checked_out(root, "HEAD"):
        pass
    assert not (root / "ran").exists()


def test_what_cannot_be_checked_out_is_one_line(root):
    with pytest.raises(UserError, match="cannot be checked out"), commits.checked_out(root, "no"):
        pass


def test_variables_of_a_hook_lead_to_no_other_repository(root, tmp_path, monkeypatch):
    other = bare(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", os.fspath(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", os.fspath(other / ".git" / "index"))
    (root / "file").write_text("2")
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    second = commit(root, "second")
    monkeypatch.setenv("GIT_DIR", os.fspath(other / ".git"))
    assert commits.resolve(root, "HEAD", key="gate.commit") == second


@pytest.mark.parametrize(
    ("name", "fragment"),
    [("site-packages", "is installed from a wheel"), ("folder", "is no git repository")],
)
def test_without_a_repository_there_are_no_commits(name, fragment, tmp_path, monkeypatch):
    package = tmp_path / name / "jaxgen" / "gate"
    package.mkdir(parents=True)
    monkeypatch.setattr(commits, "__file__", str(package / "commits.py"))
    with pytest.raises(UserError, match=fragment) as refused:
        commits.repository("gate.commit")
    assert str(refused.value).startswith("gate.commit needs a clone of jaxgen's repository")


def test_without_git_there_is_one_line(root, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="git cannot be asked about"):
        commits.resolve(root, "HEAD", key="gate.commit")
