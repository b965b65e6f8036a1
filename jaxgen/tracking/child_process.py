"""A child process with a time limit, at which it is killed with all processes that it started."""

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_BOOT = (
    "import runpy, signal, sys; "
    "signal.setitimer(signal.ITIMER_REAL, float(sys.argv.pop(1))); "
    "del sys.argv[0]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
"""`python -m` with a clock of its own: the child ends even if its parent has been killed."""

# The parent kills at the limit itself. The child's own clock is later, so that it only ever acts
# where the parent is gone and cannot.
_GRACE_S = 5.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a child process ended.

    Attributes:
        code: its exit code, negative for a signal; null if it was killed at the time limit.
        output: what it printed.
    """

    code: int | None
    output: str

    @property
    def last_line(self) -> str:
        """The last line that it printed, which of a traceback is the exception."""
        lines = []
        for line in self.output.splitlines():
            if line.strip():
                lines.append(line.strip())
        if lines:
            return lines[-1]
        return f"exit code {self.code}"


def run_module(
    words: Sequence[str], *, env: Mapping[str, str], limit_s: float, log: Path
) -> Outcome:
    """Run `python -m WORDS` and wait for it, no longer than the limit.

    Args:
        words: the module's name and its arguments.
        env: variables on top of this process's environment; an empty text removes one.
        limit_s: seconds until it is killed with all processes that it started.
        log: the file to which its output is appended.

    Returns:
        How it ended.

    Raises:
        KeyboardInterrupt: while waiting; the child is killed first.
    """
    # -P: a folder or file named wandb in the working directory is not the library.
    argv = [sys.executable, "-P", "-c", _BOOT, str(limit_s + _GRACE_S), *words]
    log.parent.mkdir(parents=True, exist_ok=True)
    # The output goes to a file. A pipe would have to be read until the last grandchild closes it.
    with log.open("ab") as sink:
        begin = sink.tell()
        child = subprocess.Popen(
            argv,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            # Ctrl-C goes to this process alone, which then kills the child.
            start_new_session=True,
        )
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.poll() is None:
                _kill(child)
    with log.open("rb") as file:
        # What stands before it is of earlier children, whose reasons are not this one's.
        file.seek(begin)
        output = file.read().decode(errors="replace")
    return Outcome(code, output)


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with changes, and this very jaxgen first on the path."""
    paths = [str(Path(__file__).resolve().parents[2])]
    inherited = os.environ.get("PYTHONPATH")
    if inherited:
        paths.append(inherited)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for name, value in changes.items():
        if value:
            environment[name] = value
        else:
            environment.pop(name, None)
    return environment


def _kill(child: subprocess.Popen) -> None:
    """Kill a child and its descendants, which may have sessions of their own."""
    import psutil

    processes = []
    with contextlib.suppress(psutil.NoSuchProcess):
        # Listed before anything is killed: the children of a dead process belong to init, and are
        # not found through it any more.
        parent = psutil.Process(child.pid)
        processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    # Reaped here: else it stays a zombie for as long as this process lives.
    child.wait()
