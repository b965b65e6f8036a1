"""Over how many devices a model is spread, and which of its axes are cut (`mesh=`).

Here are numbers alone, no devices.
"""

import dataclasses
import enum
import re
from typing import ClassVar

from jaxgen.errors import UserError
from jaxgen.specs.architecture import Architecture

DATA, TENSOR = "data", "tensor"
"""The mesh's own axes."""


@dataclasses.dataclass(frozen=True)
class OneDevice:
    """The first device there is (`mesh=single`)."""

    # The names are those of `Mesh`, so that who asks for a size need not ask for the kind first.
    data: ClassVar[int] = 1
    tensor: ClassVar[int] = 1
    devices: ClassVar[int] = 1
    local_processes: ClassVar[int] = 1
    joins: ClassVar[bool] = False
    host_devices: ClassVar[int | None] = None


class Processes(enum.Enum):
    """How a process finds the others of its job: by what the cluster says in its environment."""

    auto = "auto"


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Groups of devices: each group has the whole model, each of its devices a part.

    Attributes:
        data: groups among which the rows of a batch are shared out.
        tensor: devices among which heads, intermediate size and vocabulary are shared out.
        local_processes: processes that share the devices of this machine; jaxgen starts them.
        processes: `auto` joins the job that this process was started in: of Slurm, Open MPI,
            Kubernetes or Cloud TPU.
        coordinator: HOST:PORT of process 0, to join a job by hand, with the next two keys.
        process_id: the number of this process, from 0.
        num_processes: how many processes the job has.
    """

    data: int = 1
    tensor: int = 1
    local_processes: int = 1
    processes: Processes | None = None
    coordinator: str | None = None
    process_id: int | None = None
    num_processes: int | None = None

    def __post_init__(self):
        problems = []
        # Numbers below 1 first: the other checks divide by them.
        for key in ("data", "tensor", "local_processes"):
            value = getattr(self, key)
            if value < 1:
                problems.append(f"mesh.{key}={value} must be 1 or more")
        if not problems:
            problems = self._muddled() + self._misnumbered()
        if problems:
            raise UserError.collected("impossible mesh", problems)

    def _muddled(self) -> list[str]:
        """List several ways to find the other processes, or half of one."""
        by_hand, missing = [], []
        for key in ("coordinator", "process_id", "num_processes"):
            is_set = getattr(self, key) is not None
            (by_hand if is_set else missing).append(f"mesh.{key}")
        ways = []
        if self.local_processes > 1:
            ways.append("mesh.local_processes")
        if self.processes:
            ways.append("mesh.processes=auto")
        if by_hand:
            ways.append(", ".join(by_hand))
        if len(ways) > 1:
            return [f"{' and '.join(ways)} are several ways to find the other processes: give one"]
        if by_hand and missing:
            return [f"{', '.join(by_hand)} needs {', '.join(missing)} too"]
        if self.coordinator and not re.fullmatch(r"\S+:\d+", self.coordinator):
            return [f"mesh.coordinator={self.coordinator} must be HOST:PORT"]
        return []

    def _misnumbered(self) -> list[str]:
        """List a number of a process, or of all of them, that cannot be."""
        count = self.num_processes or self.local_processes
        number = self.process_id
        if count < 1 or (number is not None and not 0 <= number < count):
            return [
                f"mesh.process_id={number} must be 0 or more and below mesh.num_processes={count}"
            ]
        # A process holds whole devices, and all processes hold as many.
        if self.devices % count:
            product = f"mesh.data={self.data} x mesh.tensor={self.tensor}"
            return [f"{product} = {self.devices} devices are not divisible among {count} processes"]
        return []

    @property
    def joins(self) -> bool:
        """Whether the job's other processes are started by somebody else."""
        return self.processes is not None or self.coordinator is not None

    @property
    def host_devices(self) -> int | None:
        """Devices of one process; null where only the job knows how many processes there are."""
        if self.processes:
            return None  # the cluster says it, once the job has been joined
        count = self.num_processes or self.local_processes
        return self.devices // count

    @property
    def devices(self) -> int:
        """How many it takes."""
        return self.data * self.tensor


MeshSpec = OneDevice | Mesh


@dataclasses.dataclass(frozen=True)
class Cut:
    """In how many parts each axis of a model is cut.

    Attributes:
        batch, heads, kv_heads, intermediate, vocab: the axes; 1 is whole on every device.
        table: of the vocabulary's tables the other axis, where the vocabulary itself cannot be cut.
        reasons: why an axis is not cut as it might have been, in words.
    """

    batch: int = 1
    heads: int = 1
    kv_heads: int = 1
    intermediate: int = 1
    vocab: int = 1
    table: int = 1
    reasons: tuple[str, ...] = ()

    def of(self, axis: str) -> int:
        """Return the parts of an axis; one without a field here is whole."""
        if axis not in _CUT:
            return 1
        return getattr(self, axis)

    def part(self, architecture: Architecture) -> Architecture:
        """Return what one device has of a model, as a model.

        What the device reads and computes is counted from it.

        A table that is cut along its other axis has the bytes of so many rows.
        """
        # The hidden size stays: between layers each device has the whole residual stream.
        return dataclasses.replace(
            architecture,
            num_heads=architecture.num_heads // self.heads,
            num_kv_heads=architecture.num_kv_heads // self.kv_heads,
            intermediate_size=architecture.intermediate_size // self.intermediate,
            vocab_size=architecture.vocab_size // (self.vocab * self.table),
        )

    def rows(self, count: int) -> int:
        """Return the rows of a batch with those that fill it up: each group gets as many."""
        # 5 rows for 2 groups become 6, one of which is padding.
        return -(-count // self.batch) * self.batch


_CUT = ("batch", "heads", "kv_heads", "intermediate", "vocab", "table")


def partition(mesh: MeshSpec, architecture: Architecture) -> Cut:
    """Say in how many parts a mesh cuts each axis of a model.

    Heads must come out even. Fewer kv heads than devices are kept whole on each, and so is an
    intermediate size that does not come out even; a vocabulary that does not is left whole, and its
    tables are cut along the hidden size.

    Raises:
        UserError: the heads, or kv heads that are as many as the devices or more, do not come out
            even.
    """
    ways, arch = mesh.tensor, architecture
    # 2 kv heads cannot be cut into 4 parts: each device keeps both, which costs memory.
    few = arch.num_kv_heads < ways
    _check_heads(arch, ways, few_kv_heads=few)
    # What does not come out even is no error: it is whole on every device, and the result says so.
    reasons = []
    if few and ways > 1:
        reasons.append(
            f"its {arch.num_kv_heads} kv heads, fewer than mesh.tensor={ways}, "
            "are whole on every device"
        )
    if arch.intermediate_size % ways:
        reasons.append(
            f"its intermediate size, {arch.intermediate_size}, is not divisible by "
            f"mesh.tensor={ways} and whole on every device"
        )
    whole_vocab = arch.vocab_size % ways != 0
    by_width = whole_vocab and arch.hidden_size % ways == 0
    if whole_vocab:
        how = "cut along the hidden size" if by_width else "whole on every device"
        reasons.append(
            f"its vocabulary, {arch.vocab_size}, is not divisible by mesh.tensor={ways}: "
            f"its tables are {how}"
        )
    return Cut(
        batch=mesh.data,
        heads=ways,
        kv_heads=1 if few else ways,
        intermediate=1 if arch.intermediate_size % ways else ways,
        vocab=1 if whole_vocab else ways,
        table=ways if by_width else 1,
        reasons=tuple(reasons),
    )


def _check_heads(arch: Architecture, ways: int, *, few_kv_heads: bool) -> None:
    """Refuse heads that do not come out even, and say which numbers of devices fit."""
    problems = []
    if arch.num_heads % ways:
        problems.append(f"num_heads={arch.num_heads} is not divisible by mesh.tensor={ways}")
    # Fewer kv heads than devices are whole on each, and need not be divisible.
    if not few_kv_heads and arch.num_kv_heads % ways:
        problems.append(f"num_kv_heads={arch.num_kv_heads} is not divisible by mesh.tensor={ways}")
    if not problems:
        return
    fitting = []
    for count in range(1, ways):
        if arch.num_heads % count == 0 and arch.num_kv_heads % count == 0:
            fitting.append(str(count))
    problems.append(f"mesh.tensor may be {', '.join(fitting)} below that")
    raise UserError.collected("the model's heads cannot be shared out", problems)
