"""A child process with a hard time limit, at which it is killed with all that it started."""

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
"""`python -m` with a clock of its own: the child ends even if whoever should kill it has been killed."""

_GRACE_S = 5.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        code: its exit code, negative for a signal; null if it was killed at the limit.
        output: what it printed.
    """

    code: int | None
    output: str

    @property
    def last_line(self) -> str:
        """The last thing that it printed, which of a traceback is the exception."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


def run_module(
    words: Sequence[str], *, env: Mapping[str, str], limit_s: float, log: Path
) -> Outcome:
    """Run `python -m WORDS` and wait for it, no longer than the limit.

    Args:
        words: the module's name and its arguments.
        env: on top of this process's environment; an empty text takes a variable out.
        limit_s: seconds until it is killed, with all that it started.
        log: what it prints is appended there. A file and no pipe: nobody waits for the end of it.

    Returns:
        How it ended.

    Raises:
        KeyboardInterrupt: while waiting; the child is killed first.
    """
    # -P: a folder or file named wandb in the working directory is not the library.
    argv = [sys.executable, "-P", "-c", _BOOT, str(limit_s + _GRACE_S), *words]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        begin = sink.tell()
        child = subprocess.Popen(
            argv,
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.poll() is None:
                _kill(child)
    with log.open("rb") as file:
        file.seek(begin)
        return Outcome(code, file.read().decode(errors="replace"))


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])  # where this very jaxgen lies
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    merged = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **changes}
    return {key: value for key, value in merged.items() if value or key not in changes}


def _kill(child: subprocess.Popen) -> None:
    """The child and its descendants, which may have sessions of their own."""
    import psutil

    family = []
    with contextlib.suppress(psutil.NoSuchProcess):
        own = psutil.Process(child.pid)
        family = [own, *own.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()
