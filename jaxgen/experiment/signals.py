"""What a signal from outside does to a run."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Make SIGTERM end a run as Ctrl-C does: workers end, and what was measured is kept."""

    def interrupt(*_signal):
        raise KeyboardInterrupt

    try:
        # Python lets the main thread alone set a handler; a server or a notebook may run this in
        # another.
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: somebody else handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
