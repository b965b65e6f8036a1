"""The one place that calls Orbax: quietly, in one line where it fails, and never cut short by Ctrl-C."""

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
        context.array.saving.use_compression = (
            False  # weights shrink by 8 % and would take 3 times as long to load
        )
        with context:
            ocp.save(str(path), dict(arrays), custom_metadata=dict(metadata))

    _finished(action)


def metadata(path: Path) -> Any:
    """What stands beside a checkpoint's arrays, and their shapes and dtypes, without reading them."""

    def action() -> Any:
        found = _orbax().metadata(str(path))
        if found.metadata is None:  # Orbax only logs why
            raise ValueError("the list of its arrays cannot be read")
        return found

    return _finished(action)


def load(path: Path, target: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
    """Read arrays into the dtypes and shardings of `target`: all of a checkpoint's, or some of them."""

    def action() -> dict[str, jax.Array]:
        ocp = _orbax()
        context = ocp.Context()
        context.pytree.loading.partial_load = True
        with context:
            return ocp.load(str(path), dict(target))

    arrays = _finished(action)
    assert all(isinstance(array, jax.Array) for array in arrays.values()), (
        "Orbax left a leaf without numbers"
    )
    return arrays


def _orbax() -> Any:
    """Orbax itself: a sixth of a worker's imports, which random weights need not wait for."""
    from orbax.checkpoint import v1

    return v1


def _finished(action: Callable[[], Any]) -> Any:
    with _interrupts_deferred():
        outcome = _quietly(action)
    if isinstance(outcome, OrbaxError):
        raise outcome
    return outcome


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait; only the main thread is ever interrupted.

    Interrupted, Orbax leaves threads behind that go on writing, and make their folders anew where these are cleared
    away. A gigabyte takes a second or two.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            before(*caught[0])


def _quietly(action: Callable[[], Any]) -> Any:
    """The action's result, or an `OrbaxError` in place of its logs and tracebacks."""
    absl, asyncio = map(logging.getLogger, ("absl", "asyncio"))
    level, hook = absl.level, sys.unraisablehook
    absl.setLevel(logging.CRITICAL + 1)
    asyncio.addFilter(_not_of_orbax)
    sys.unraisablehook = lambda unraisable: None if _late(unraisable) else hook(unraisable)
    try:
        result = action()
    except Exception as error:  # Orbax and TensorStore raise many types, bare Exception among them
        return OrbaxError(_short(str(error) or type(error).__name__))
    else:  # after a failure these stay: what was under way when it happened is told of when it ends
        asyncio.removeFilter(_not_of_orbax)
        sys.unraisablehook = hook
        return result
    finally:
        absl.setLevel(level)


def _late(unraisable: Any) -> bool:
    """Whether a read or write ends after the failure of another closed its event loop: TensorStore tells the loop, and
    Orbax's own coroutine, which nobody waits for any more, is thrown away."""
    code = getattr(unraisable.object, "cr_code", None)
    closed = isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(
        unraisable.exc_value
    )
    return closed or (code is not None and "orbax" in code.co_filename)


def _not_of_orbax(record: logging.LogRecord) -> bool:
    """Drops asyncio's complaints that nobody read the exceptions of Orbax's or TensorStore's tasks."""
    return not any(name in record.getMessage() for name in ("orbax", "tensorstore", "OCDBT"))


def _short(text: str) -> str:
    """TensorStore quotes every path on the way to the reason."""
    full = "No space left on device"
    return full if full in text else " ".join(text.split())[:200]
