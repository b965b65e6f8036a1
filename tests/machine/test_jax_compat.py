"""Versions of jax and flax that fit each other, and the one file with private names of jax."""

import importlib
import importlib.metadata
import re
from pathlib import Path

import pytest

import jaxgen.models
from jaxgen.errors import UserError
from jaxgen.machine import jax_compat

PACKAGE = Path(jax_compat.__file__).parents[1]


def pretend_installed(monkeypatch, **versions):
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)


@pytest.mark.parametrize(
    ("jax", "flax"), [("0.10.2", "0.12.8"), ("0.11.2", "0.12.12"), ("0.12.0.1", "0.13.0.dev3")]
)
def test_versions_that_fit_are_accepted(monkeypatch, jax, flax):
    pretend_installed(monkeypatch, jax=jax, flax=flax)
    jax_compat.require_fitting_flax()


def test_an_old_flax_beside_a_new_jax_is_named_with_its_remedy(monkeypatch):
    pretend_installed(monkeypatch, jax="0.12.0.1", flax="0.12.8")
    with pytest.raises(UserError, match=r"flax 0\.12\.8 .* jax 0\.12\.0\.1; .*'flax>=0\.12\.9'"):
        jax_compat.require_fitting_flax()


def test_a_model_is_not_even_imported_with_versions_that_do_not_fit(monkeypatch):
    pretend_installed(monkeypatch, jax="0.12.0.1", flax="0.12.8")
    with pytest.raises(UserError, match="does not run on jax"):
        importlib.reload(jaxgen.models)


def test_the_installed_versions_fit():
    jax_compat.require_fitting_flax()


def test_private_names_of_jax_stand_in_one_file():
    private = re.compile(r"\bjax\._src\b|\bjaxlib\._")
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if private.search(path.read_text(encoding="utf-8"))
    ]
    assert users == ["machine/jax_compat.py"]
