"""Settings for every test: what jax lets pass in silence fails here, and little time goes to LLVM.

They are set before jax starts its backend. Processes that tests start inherit the platform and what
makes LLVM quick, but nothing else: they run as a user's would.
"""

import logging
import os
import signal
import sys
import types
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# Where Python is told to write no bytecode beside the sources, as many containers do, each process
# compiles all of jax's files anew: more than half of a worker's start. One folder keeps it for all
# processes of the tests, this one too.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    bytecode = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"
    os.environ["PYTHONPYCACHEPREFIX"] = str(bytecode)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(bytecode)

# A shell lets what it starts in the background ignore Ctrl-C, and processes inherit that: the tests
# of an interruption would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax
import pytest

STRICT = {
    "jax_disable_most_optimizations": True,  # half of the tests' time was LLVM's
    "jax_num_cpu_devices": 4,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    # The smallest test model has more bytes of weights than that.
    "jax_captured_constants_warn_bytes": 16 * 1024,
}

for name, value in STRICT.items():
    jax.config.update(name, value)

# One LLVM module for each program: to cut it into 32 takes half as long again. The older emitter
# takes half as long as the newer one; only jax 0.10 has it, and an unknown flag ends the process.
quick_flags = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__[:2] == (0, 10):
    quick_flags.append("--xla_cpu_use_fusion_emitters=false")

# One of several test processes inherits the flags, as those that the tests start do.
inherited_flags = os.environ.get("XLA_FLAGS", "").split()
os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*inherited_flags, *quick_flags]))
jax.devices()  # starts the backend here, so that no test can change what it is started with


@pytest.hookimpl(tryfirst=True)  # before -k and -m take tests away
def pytest_collection_modifyitems(config, items):
    """Mark the tests that the table of slow files leaves out of the inner loop."""
    from support.slow_tests import STALE_PARTS, is_slow, stale_parts

    tests = Path(__file__).parent
    names_of: dict[str, list[str]] = {}
    for item in items:
        path = item.path.relative_to(tests).as_posix()
        name = item.nodeid.partition("::")[2]
        names_of.setdefault(path, []).append(name)
        if is_slow(path, name):
            item.add_marker(pytest.mark.slow)
    # Each file goes to one process whole, so that its fixtures and programs are made once. Those
    # with slow tests begin first: a long file that began last would leave the other cores idle.
    slow_paths = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_paths)
    # A command that names single tests collects a part of a file, which says nothing of the table.
    are_whole = not any("::" in argument for argument in config.args)
    config.stash[STALE_PARTS] = stale_parts(names_of) if are_whole else []


@pytest.fixture(scope="session", autouse=True)
def no_calibrations(tmp_path_factory):
    """Give the tests a data directory of their own.

    An interval must not depend on what this machine's user has calibrated.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting():
    """Let runs begin at once: they would wait for the tests beside them to be done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxgen.experiment.machine_load._watched_share", lambda: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_fsync():
    """Let files reach the disk when they do: what the tests write is read by the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture
def ledger():
    """Return a ledger that records every trace, lowering and compile of the test."""
    from jaxgen.engine.ledger import Ledger

    ledger = Ledger()
    yield ledger
    ledger.close()


@pytest.fixture
def own_loggers():
    """Close the handlers that Hydra adds to the root logger when the test ends."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers, root.level = handlers, level


@pytest.fixture
def place(tmp_path, monkeypatch, own_loggers):
    """Run the test in a folder of its own and with loggers of its own; return the folder.

    Hydra closes all handlers that it finds. Among them may be one that absl made for pytest's own
    stderr, in a process where other tests have imported jax.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "_handlerList", [])
    return tmp_path


@pytest.fixture
def executed(monkeypatch):
    """Replace `execute` and the report by functions that measure nothing.

    `calls` has what `execute` was called with, `boards` the sweep board of each call. `answers`
    says, by the candidate's jit strategy, what a call returns or raises.
    """
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
