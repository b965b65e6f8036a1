"""Programs that one process of an arm leaves to the next one: a compilation cache of one run.

A further pair of processes is to draw a new start, not to compile for half a minute what the first
pair has compiled already. It finds the programs while it warms up, and at no other time: what
compiles in a trial compiles there. Nothing is read or written while the first pair's warm-up is
timed, whose compile seconds are reported.
"""

import contextlib
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxgen.machine import jax_compat

_FOLDER = "jax_compilation_cache_dir"
_ENABLED = "jax_enable_compilation_cache"
_NEVER_S = 1e9
"""No compile takes as long: a cache that keeps only such programs is not written."""


@contextlib.contextmanager
def leaving(folder: str | None) -> Iterator[None]:
    """Write what is compiled inside the block into a folder, when the block is done.

    Args:
        folder: belongs to one arm of the run; null writes nothing.
    """
    if folder is None or not _is_usable():
        yield
        return
    with _keeping_from(0.0), jax_compat.noted_programs() as programs:
        yield
    with _keeping_from(0.0), _cache_in(folder):
        jax_compat.put_into_cache(programs)


@contextlib.contextmanager
def finding(folder: str | None) -> Iterator[None]:
    """Have the block find the programs that an earlier process has left in a folder.

    Args:
        folder: belongs to one arm of the run; null finds nothing.
    """
    if folder is None or not _is_usable():
        yield
        return
    with _keeping_from(_NEVER_S), _cache_in(folder):
        yield


def _is_usable() -> bool:
    """Return whether a program from a folder is the one that would be compiled.

    On a GPU compiling chooses kernels by timing them: there each process must choose anew, as its
    choice is a part of what a start draws. A cache that the user has set, or has switched off, is
    left as it is.
    """
    if jax.default_backend() != "cpu" or jax.process_count() > 1:
        return False
    # Read by name: jax makes its settings attributes as it starts, unseen by a type checker.
    folder = getattr(jax.config, _FOLDER)
    return folder is None and getattr(jax.config, _ENABLED)


@contextlib.contextmanager
def _keeping_from(seconds: float) -> Iterator[None]:
    """Have jax give its cache the programs that took so long to compile, or longer."""
    with _setting("jax_persistent_cache_min_compile_time_secs", seconds):
        yield


@contextlib.contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    """Set jax's persistent compilation cache to a folder, and take it away again."""
    # XLA's own caches, which only a GPU has, would put their paths into the key of every program.
    with (
        _setting("jax_persistent_cache_enable_xla_caches", "none"),
        _setting(_FOLDER, folder),
    ):
        try:
            yield
        finally:
            # jax opens a folder once and keeps it, whatever the setting says later.
            compilation_cache.reset_cache()


@contextlib.contextmanager
def _setting(name: str, value: object) -> Iterator[None]:
    """Change a setting of jax inside the block."""
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)
