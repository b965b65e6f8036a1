"""The examples in docstrings are true.

doctest runs them; those that need a model have the embedded one.
"""

import doctest
import functools
import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from support import small_models

PACKAGE = Path(__file__).parents[2] / "jaxgen"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NEED_A_MODEL = ("jaxgen", "jaxgen.api", "jaxgen.engine.scoring", "jaxgen.models")
"""Modules and packages whose examples may load a model or compile one."""


def modules_with_examples() -> list[str]:
    """Return the dotted names of the modules with `>>>` in their text."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            names.append(".".join(parts).removesuffix(".__init__"))
    return names


def needs_a_model(name: str) -> bool:
    return name in NEED_A_MODEL or name.rpartition(".")[0] in NEED_A_MODEL[1:]


MODULES = modules_with_examples()


def failures(name: str, **names: Any) -> str:
    """Run a module's examples with its names and others; return doctest's report of failures."""
    module = importlib.import_module(name)
    tests = doctest.DocTestFinder().find(module, name, extraglobs=names)
    assert any(test.examples for test in tests), f"doctest finds no example in {name}"
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    report: list[str] = []
    for test in tests:
        runner.run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("name", [name for name in MODULES if not needs_a_model(name)])
def test_examples_without_a_model_are_true(name):
    names = {"run": small_models.run(), "jitted": jax.jit(jnp.square), "x": np.float32([1, 2])}
    assert failures(name, **names) == ""


@functools.cache
def embedded_model() -> dict[str, Any]:
    """Return the names that the examples use: the embedded model's engine, codec and others."""
    import jaxgen
    from jaxgen.caches.none import Recompute
    from jaxgen.engine.scoring.request import ScoreRequest

    model = jaxgen.load("cache=fixed", "workload.max_new_tokens=8")
    return {
        "jaxgen": jaxgen,
        "Recompute": Recompute,
        "engine": model._engine,
        "codec": model._codec,
        "request": ScoreRequest(
            query=(5, 6, 7), rows=((5, 6, 7, 8), (5, 6, 7, 9)), labels=(10, 11)
        ),
        "architecture": model._engine.blueprint.structure.architecture,
        "tokens": jnp.array([[5, 6, 7, 8]], jnp.int32),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODULES if needs_a_model(name)])
def test_examples_with_a_model_are_true(name):
    assert failures(name, **embedded_model()) == ""


def test_examples_that_are_skipped_give_a_reason():
    """As in `call()  # takes an hour  # doctest: +SKIP`."""
    for path in PACKAGE.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "doctest: +SKIP" in line:
                assert line.count("#") == 2, f"{path.name}: {line.strip()}"
