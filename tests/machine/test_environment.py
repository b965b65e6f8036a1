"""What is noted of the place where a measurement was taken."""

import json
import shutil
import subprocess

import pytest

from jaxgen.machine import environment, provenance

KEYS = {
    "platform",
    "device_kind",
    "device_count",
    "backend_version",
    "packages",
    "python",
    "system",
    "cpu",
    "cores",
    "processor",
    "memory_bytes",
    "xla_flags",
    "jax_environment",
    "jax_config",
    "git",
}


@pytest.fixture(scope="module")
def captured():
    return environment.capture()


def test_all_keys_are_there_and_plain(captured):
    assert captured.keys() == KEYS
    assert json.loads(json.dumps(captured)) == captured


def test_the_device_is_the_one_that_jax_uses(captured):
    assert (captured["platform"], captured["device_count"]) == ("cpu", 4)


def test_what_is_not_installed_is_null(captured, monkeypatch):
    assert captured["packages"]["jax"]
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert environment.capture()["packages"] == {"no-such-package": None}


def test_the_flags_are_those_of_the_process(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_x=1")
    monkeypatch.setenv("JAX_SOME_SETTING", "7")
    captured = environment.capture()
    assert captured["xla_flags"] == "--xla_x=1"
    assert captured["jax_environment"]["JAX_SOME_SETTING"] == "7"


def test_no_flags_are_null_not_empty(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert environment.capture()["xla_flags"] is None


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that jaxgen seems to run from."""
    (tmp_path / "jaxgen" / "measure").mkdir(parents=True)
    monkeypatch.setattr(
        provenance, "__file__", str(tmp_path / "jaxgen" / "measure" / "provenance.py")
    )
    return tmp_path


def test_without_a_checkout_git_is_null(checkout):
    assert environment.capture()["git"] is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_checkout_has_its_commit_and_whether_it_is_dirty(checkout):
    def git(*words):
        names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", "-C", checkout, *names, *words], check=True, capture_output=True, text=True
        ).stdout

    git("init")
    git("commit", "--allow-empty", "--message", "first")
    assert environment.capture()["git"] == {
        "commit": git("rev-parse", "HEAD").strip(),
        "dirty": False,
        "diff_sha256": None,
    }
    (checkout / "file").write_text("")
    assert environment.capture()["git"]["dirty"] is True
    once = provenance.git()
    (checkout / "jaxgen" / "new.py").write_text("1")
    twice = provenance.git()
    (checkout / "jaxgen" / "new.py").write_text("2")
    hashes = [each["diff_sha256"] for each in (once, twice, provenance.git())]
    assert len(set(hashes)) == 3
    assert all(len(each) == 16 for each in hashes)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_broken_checkout_is_null(checkout):
    (checkout / ".git").mkdir()
    assert environment.capture()["git"] is None


def test_a_status_that_git_does_not_say_is_null_and_not_clean(checkout, monkeypatch):
    (checkout / ".git").mkdir()
    answers = {"rev-parse": "abc", "status": None}
    monkeypatch.setattr(provenance, "_git_says", lambda _root, word, *_rest: answers[word])
    assert provenance.git() == {"commit": "abc", "dirty": None, "diff_sha256": None}
