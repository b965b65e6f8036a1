"""What one arm is: one frozen, validated, hashable spec."""

import dataclasses
import typing
from collections.abc import Mapping

from jaxgen.errors import UserError
from jaxgen.specs.cache import CacheSpec, Fixed, Paged, PageKernel, has_two_regions
from jaxgen.specs.dtype import Dtype
from jaxgen.specs.fault import Fault
from jaxgen.specs.jit import Jit, Strategy
from jaxgen.specs.mesh import MeshSpec
from jaxgen.specs.model import Model
from jaxgen.specs.prompts import PromptsSpec
from jaxgen.specs.score import Score
from jaxgen.specs.workload import Batching, Generate

WorkloadSpec = Generate | Score


@dataclasses.dataclass(frozen=True)
class Process:
    """What a worker's process is started with.

    Attributes:
        xla_flags: added to the XLA_FLAGS of the environment.
        env: environment variables, as (name, value) pairs.
        python: the interpreter, of another environment perhaps; null is the one that runs jaxgen.
        source: a folder with another checkout of jaxgen, whose code the worker runs; null is the
            code that runs here.
        pin: the CPUs that the process may use, by number; empty is all. Linux only.
    """

    xla_flags: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    python: str | None = None
    source: str | None = None
    pin: tuple[int, ...] = ()

    def __post_init__(self):
        # In order and each once, so that the same CPUs make the same process.
        object.__setattr__(self, "pin", tuple(sorted(set(self.pin))))
        if any(cpu < 0 for cpu in self.pin):
            raise UserError(
                f"process.pin={list(self.pin)} must name CPUs by their numbers, from 0 on"
            )
        # A mapping comes from YAML, and pairs from a message between processes.
        pairs = self.env
        if isinstance(self.env, Mapping):
            pairs = self.env.items()
        as_text = [(str(name), str(value)) for name, value in pairs]
        # Sorted, so that the order of the command line makes no other process.
        object.__setattr__(self, "env", tuple(sorted(as_text)))


@dataclasses.dataclass(frozen=True)
class Run:
    """All that one arm is made of.

    A slot whose annotation is a union holds a spec of one of its classes.
    """

    model: Model
    cache: CacheSpec
    jit: Jit
    dtype: Dtype
    mesh: MeshSpec
    workload: WorkloadSpec
    prompts: PromptsSpec
    process: Process
    fault: Fault = Fault()  # noqa: RUF009 - frozen

    def __post_init__(self):
        # Each spec has checked its own values; what is left is what fits only with another slot.
        self._check_slots()
        self._check_mesh()

    def _check_slots(self) -> None:
        """Refuse continuous batching without rows that another prompt can take over."""
        work = self.workload
        # A row of these caches keeps its place whatever stands in it.
        if not isinstance(work, Generate) or work.batching is Batching.static:
            return
        if not isinstance(self.cache, Fixed | Paged):
            raise UserError(
                "workload.batching=continuous needs cache=fixed or cache=paged, "
                "whose shapes never change; a baseline without one is had with "
                "\"baseline.overrides=['workload.batching=static']\""
            )
        if has_two_regions(self.cache):
            raise UserError(
                "workload.batching=continuous cannot be combined with cache.regions=2, "
                "whose rows go in step; set cache.regions=1"
            )
        if work.shared_prefix and not isinstance(self.cache, Paged):
            raise UserError(
                "workload.shared_prefix needs cache=paged: only pages can belong to several texts"
            )

    def _check_mesh(self) -> None:
        """Refuse what a mesh cannot cut, and rows that it cannot share out evenly."""
        work, mesh = self.workload, self.mesh
        if mesh.devices == 1:
            return
        if isinstance(work, Generate) and work.batching is Batching.continuous:
            problems = self._rows_without_a_group()
        else:
            problems = self._uneven_rows()
        # A constant of a program has no sharding.
        if self.jit.strategy is Strategy.captured:
            problems.append(
                "jit=captured makes constants of the weights, whole on every device: "
                "use jit=closure"
            )
        # To the partitioner of XLA a Pallas kernel is one opaque call.
        if isinstance(self.cache, Paged) and self.cache.kernel is PageKernel.pallas:
            problems.append("cache.kernel=pallas cannot be cut: use cache.kernel=auto")
        if problems:
            raise UserError.collected(
                f"a mesh of {mesh.devices} devices is impossible here", problems
            )

    def _rows_without_a_group(self) -> list[str]:
        """Continuous batching moves single rows, which groups of devices cannot share out."""
        data = self.mesh.data
        if data == 1:
            return []
        return [
            f"workload.batching=continuous has no rows for mesh.data={data}: use mesh.tensor alone"
        ]

    def _uneven_rows(self) -> list[str]:
        """List the batch sizes that the groups of devices cannot share out."""
        work, data = self.workload, self.mesh.data
        sizes = [("batch_size", work.batch_size)]
        # Scoring has sizes and generation buckets; each of them is the rows of some batch.
        for key in ("batch_sizes", "batch_buckets"):
            sizes += [(key, size) for size in getattr(work, key, ())]
        return [
            f"workload.{key}={size} is not divisible by mesh.data={data}: give a multiple of it"
            for key, size in sizes
            if size % data
        ]


def slots_of(spec: type) -> dict[str, tuple[type, ...]]:
    """Return the spec classes that each field of a dataclass can hold, by its annotation."""
    hints = typing.get_type_hints(spec)
    slots = {}
    for field in dataclasses.fields(spec):
        hint = hints[field.name]
        # A union names its members; one class alone has none.
        slots[field.name] = typing.get_args(hint) or (hint,)
    return slots


ARM_SLOTS = slots_of(Run)
"""The slots that make an arm; each holds a spec of one of its classes."""
