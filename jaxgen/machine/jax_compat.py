"""What differs between the supported versions of jax, and the private names of jax that are used.

Everything else uses jax's public names, which are equal in all supported versions: 0.10.2 on Python
3.11, and 0.10.2, 0.11.1, 0.11.2, 0.12.0 and 0.12.0.1 from Python 3.12 on. This module stands in
`machine` because that is the lowest package whose modules may import jax: all that run a model can
import it. jax is imported inside the functions, so that importing this module starts nothing.
"""

import contextlib
import dataclasses
import importlib.metadata
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jaxgen.errors import UserError

READ_IN = ("0.10.2", "0.11.2", "0.12.0.1")
"""The versions of jax in whose source the private names below were looked up."""
NEW_FLAX_FROM_JAX = (0, 11)
"""From this version of jax on, flax must be `NEW_FLAX` or later. Package metadata cannot say so."""
NEW_FLAX = (0, 12, 9)


@dataclasses.dataclass(frozen=True)
class DistributedJob:
    """The job that this process has joined.

    Attributes:
        client: the connection to the job's key-value store and its barriers.
        process_id, num_processes: which process this is, of how many.
    """

    client: Any
    process_id: int
    num_processes: int


def distributed_job() -> DistributedJob:
    """Return the job that `jax.distributed.initialize` has joined.

    `jax.process_index()` is public, but it starts the backend, and the store has no public name.
    """
    from jax._src import distributed

    state = distributed.global_state
    return DistributedJob(state.client, state.process_id, state.num_processes)


CompiledProgram = tuple[Any, ...]
"""What jax gives to its persistent compilation cache: key, name, executable, backend and time."""


@contextlib.contextmanager
def noted_programs() -> Iterator[list[CompiledProgram]]:
    """Yield a list that gets each program which this process compiles inside the block.

    They are noted and not written: noting takes no time worth mentioning, so that compiling takes
    as long as without it. jax calls the function that is replaced here for every program that its
    persistent compilation cache might take, whether a folder is set or not.
    """
    from jax._src import compilation_cache

    programs: list[CompiledProgram] = []

    def note(*program: Any) -> None:
        programs.append(program)

    put = compilation_cache.put_executable_and_time
    compilation_cache.put_executable_and_time = note
    try:
        yield programs
    finally:
        compilation_cache.put_executable_and_time = put


def put_into_cache(programs: Sequence[CompiledProgram]) -> None:
    """Write noted programs into the persistent compilation cache that jax is set to."""
    from jax._src import compilation_cache

    for program in programs:
        compilation_cache.put_executable_and_time(*program)


def gpu_paged_attention_of_jax() -> Callable[..., Any]:
    """Return the paged attention kernel that jax ships for GPUs.

    From 0.11 on, importing its module warns that it is deprecated. It is in all supported versions.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"jax\.experimental\.pallas", DeprecationWarning)
        from jax.experimental.pallas.ops.gpu.paged_attention import paged_attention
    return paged_attention


def require_fitting_flax() -> None:
    """Check that the installed flax runs on the installed jax.

    Raises:
        UserError: it does not, as after `pip install -U jax` beside an older flax.
    """
    jax_version = importlib.metadata.version("jax")
    flax_version = importlib.metadata.version("flax")
    if _numbers(jax_version) >= NEW_FLAX_FROM_JAX and _numbers(flax_version) < NEW_FLAX:
        needed = ".".join(map(str, NEW_FLAX))
        raise UserError(
            f"flax {flax_version} does not run on jax {jax_version}; "
            f"install flax {needed} or later: pip install 'flax>={needed}'"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version such as `0.12.0.1` or `0.11.2.dev20260101`."""
    parts = version.split(".")
    # `dev20260101` is left out, so that a nightly 0.12.0.dev... counts as 0.12.0, not below it.
    return tuple(int(part) for part in parts if part.isdecimal())
