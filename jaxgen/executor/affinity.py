"""The CPUs that a worker may use (`process.pin`)."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from jaxgen.errors import UserError


@contextlib.contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Let what is started meanwhile use these CPUs alone; an empty list changes nothing.

    A process inherits its CPUs from the thread that starts it, so that it has them from its first
    instruction on: XLA counts them when it makes its threads.

    Args:
        cpus: their numbers.

    Raises:
        UserError: this process may not use them all, or the system cannot pin.
    """
    if not cpus:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise UserError(f"process.pin={list(cpus)} needs Linux; leave it empty here")
    allowed = os.sched_getaffinity(0)
    if not set(cpus) <= allowed:
        raise UserError(
            f"process.pin={list(cpus)} cannot be had: this process may use the CPUs "
            f"{sorted(allowed)}; give some of them, or [] for all"
        )
    # Of this thread alone: others of the process stay where they are.
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
