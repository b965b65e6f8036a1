"""The one place that calls Orbax: quietly, in one line where it fails, and never cut short by Ctrl-C."""

import gc
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp


class OrbaxError(Exception):
    """Why Orbax gave up, in one line; the pages that it raises and logs are left out."""


def save(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write a flat dict of arrays, and JSON values beside them."""

    def action() -> None:
        context = ocp.Context()
        context.array.saving.use_compression = False  # weights shrink by 8 % and would take 3 times as long to load
        with context:
            ocp.save(str(path), dict(arrays), custom_metadata=dict(metadata))

    _finished(action)


def metadata(path: Path) -> Any:
    """What stands beside a checkpoint's arrays, and their shapes and dtypes, without reading them."""
    return _finished(lambda: ocp.metadata(str(path)))


def load(path: Path, target: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
    """Read arrays into the dtypes and shardings of `target`, which has the names and shapes of the checkpoint."""
    arrays = _finished(lambda: ocp.load(str(path), dict(target)))
    assert all(isinstance(array, jax.Array) for array in arrays.values()), "Orbax left a leaf without numbers"
    return arrays


def _finished(action: Callable[[], Any]) -> Any:
    """Run an action in a thread, and let Ctrl-C wait for it.

    Interrupted, Orbax leaves threads behind that go on writing, and make their folders anew where these are cleared
    away. A gigabyte takes a second or two.
    """
    outcome: list[Any] = []
    ended, interrupted = threading.Event(), False

    def run() -> None:
        try:
            outcome.append(_quietly(action))
        finally:
            ended.set()

    threading.Thread(target=run).start()
    while not ended.is_set():  # not `join`, which takes the thread for ended once Ctrl-C has cut it short
        try:
            ended.wait()
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    if isinstance(outcome[0], OrbaxError):
        raise outcome[0]
    return outcome[0]


def _quietly(action: Callable[[], Any]) -> Any:
    """The action's result, or an `OrbaxError` in place of its logs and tracebacks."""
    loggers = [(logger, logger.level) for logger in map(logging.getLogger, ("absl", "asyncio"))]
    for logger, _ in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None if _late(unraisable) else hook(unraisable)
    try:
        try:
            result = action()
        except Exception as error:  # Orbax and TensorStore raise many types, bare Exception among them
            result = OrbaxError(" ".join(str(error).split())[:200] or type(error).__name__)
        else:
            sys.unraisablehook = hook  # after a failure it stays: reads and writes under way end when they end
        gc.collect()  # a task logs an exception that nobody read when it is collected
        return result
    finally:
        for logger, level in loggers:
            logger.setLevel(level)


def _late(unraisable: Any) -> bool:
    """Whether this is TensorStore telling an event loop of a read or write after another one's failure closed it."""
    return isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)
