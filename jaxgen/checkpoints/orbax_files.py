"""The one place that calls Orbax: quietly, one line where it fails, never cut short by Ctrl-C."""

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np


class OrbaxError(Exception):
    """Why Orbax gave up, in one line; the pages that it raises and logs are left out."""


def save(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write a flat dict of arrays, and JSON values beside them."""

    def action() -> None:
        ocp = _orbax()
        context = ocp.Context()
        # Weights would shrink by 8 % and take 3 times as long to load.
        context.array.saving.use_compression = False
        with context:
            ocp.save(str(path), dict(arrays), custom_metadata=dict(metadata))

    _finished(action)


def metadata(path: Path) -> Any:
    """Read what stands beside a checkpoint's arrays, and their shapes and dtypes, but no array."""

    def action() -> Any:
        result = _orbax().metadata(str(path))
        if result.metadata is None:  # Orbax only logs why
            raise ValueError("the list of its arrays cannot be read")
        return result

    return _finished(action)


def load(path: Path, target: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
    """Read arrays into the dtypes and shardings of `target`: all of a checkpoint, or some."""

    def action() -> dict[str, jax.Array]:
        ocp = _orbax()
        context = ocp.Context()
        # The target may be a part of the checkpoint: tensors are read a few at a time.
        context.pytree.loading.partial_load = True
        with context:
            return ocp.load(str(path), dict(target))

    arrays = _finished(action)
    for array in arrays.values():
        assert isinstance(array, jax.Array), "Orbax left a leaf without numbers"
    return arrays


def _orbax() -> Any:
    """Import Orbax: a sixth of a worker's imports, which random weights need not wait for."""
    from orbax.checkpoint import v1

    return v1


def _finished(action: Callable[[], Any]) -> Any:
    """Return the action's result, whatever is pressed meanwhile, or raise its `OrbaxError`."""
    with _interrupts_deferred():
        outcome = _quietly(action)
    # Raised out here: inside the handler Orbax's own pages would come along as its context.
    if isinstance(outcome, OrbaxError):
        raise outcome
    return outcome


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait; only the main thread is ever interrupted.

    Interrupted, Orbax leaves threads behind that go on writing, and make their folders anew where
    these are cleared away. A gigabyte takes a second or two.
    """
    before = signal.getsignal(signal.SIGINT)
    # Python lets no other thread set a handler, and interrupts no other.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append((number, frame))

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            # Late, but not lost: the run still ends as the user wanted.
            before(*caught[0])


def _quietly(action: Callable[[], Any]) -> Any:
    """Return the action's result, or an `OrbaxError` in place of its logs and tracebacks."""
    absl = logging.getLogger("absl")
    asyncio = logging.getLogger("asyncio")
    level, hook = absl.level, sys.unraisablehook

    def drop_late(unraisable: Any) -> None:
        if not _is_late(unraisable):
            hook(unraisable)

    absl.setLevel(logging.CRITICAL + 1)
    asyncio.addFilter(_not_of_orbax)
    sys.unraisablehook = drop_late
    try:
        result = action()
    # Orbax and TensorStore raise many types, bare Exception among them.
    except Exception as error:
        return OrbaxError(_short(str(error) or type(error).__name__))
    # After a failure these stay: what was under way when it happened complains when it ends.
    else:
        asyncio.removeFilter(_not_of_orbax)
        sys.unraisablehook = hook
        return result
    finally:
        absl.setLevel(level)


def _is_late(unraisable: Any) -> bool:
    """Say whether a read or write ends after the failure of another closed its event loop.

    TensorStore calls the loop, and Orbax's own coroutine, which nobody waits for any more, is
    thrown away.
    """
    error = unraisable.exc_value
    if isinstance(error, RuntimeError) and "Event loop is closed" in str(error):
        return True
    code = getattr(unraisable.object, "cr_code", None)
    return code is not None and "orbax" in code.co_filename


def _not_of_orbax(record: logging.LogRecord) -> bool:
    """Drop asyncio's complaints that nobody read the exceptions of Orbax's tasks."""
    message = record.getMessage()
    return not any(name in message for name in ("orbax", "tensorstore", "OCDBT"))


def _short(text: str) -> str:
    """Return the reason in one line; TensorStore quotes every path on the way to it."""
    disk_full = "No space left on device"
    if disk_full in text:
        return disk_full
    return " ".join(text.split())[:200]
