"""Strict settings for every test: nothing that jax lets pass in silence passes here, and little time goes to LLVM.

They are set before jax starts its backend. Worker processes that tests start inherit the platform and LLVM's ease, but
nothing else: they run as a user's would.
"""

import logging
import os
import sys
import types

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import pytest

STRICT = {
    "jax_disable_most_optimizations": True,  # half of the tests' time was LLVM's
    "jax_num_cpu_devices": 4,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_captured_constants_warn_bytes": 16
    * 1024,  # the smallest test model has more weights than that
}

for name, value in STRICT.items():
    jax.config.update(name, value)

QUICK = "--xla_cpu_use_fusion_emitters=false"  # the older emitter: the newer one took a third of the tests' time

if jax.__version_info__[:2] == (0, 10):  # an unknown flag would end the process
    with pytest.MonkeyPatch.context() as once:
        once.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip())
        jax.devices()  # XLA reads its flags here, and never again: processes that tests start do not get them


@pytest.fixture(scope="session", autouse=True)
def no_noise_floors(tmp_path_factory):
    """A data directory of the tests' own: a margin must not depend on what this machine's user has calibrated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def ledger():
    """Hears every trace, lowering and compile of the test."""
    from jaxgen.engine.ledger import Ledger

    listening = Ledger()
    yield listening
    listening.close()


@pytest.fixture
def own_loggers():
    """Handlers that Hydra adds to the root logger end with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, root.level = handlers, level


@pytest.fixture
def place(tmp_path, monkeypatch, own_loggers):
    """A folder of its own for the test, and loggers of its own: Hydra closes all handlers that it finds.

    Among them may be one that absl made for pytest's own stderr, in a process where other tests have imported jax.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "_handlerList", [])
    return tmp_path


@pytest.fixture
def executed(monkeypatch):
    """Stands in for the experiment, and for its report: notes its calls, does what `answers` says for the candidate's
    jit strategy."""
    from jaxgen.errors import ExitCode

    calls = []

    def execute(experiment, folder, board=None):
        calls.append((experiment, folder))
        execute.boards.append(board)
        answer = execute.answers.get(experiment.candidate.choices["jit"], ExitCode.OK)
        if isinstance(answer, BaseException):
            raise answer
        (folder / "result.json").write_text("{}")
        return answer

    execute.answers = {}
    execute.calls = calls
    execute.boards = []

    def write_report(paths):
        return types.SimpleNamespace(html=paths[0] / "report.html")

    monkeypatch.setitem(
        sys.modules, "jaxgen.experiment.execute", types.SimpleNamespace(execute=execute)
    )
    monkeypatch.setitem(
        sys.modules, "jaxgen.report.writing", types.SimpleNamespace(write_report=write_report)
    )
    return execute
