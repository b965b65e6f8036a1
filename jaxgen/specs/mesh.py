"""Over how many devices a model is spread, and which of its axes are cut (`mesh=`): numbers alone, no device."""

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
    """`data` groups of `tensor` devices; each group has the whole model, each of its devices a part.

    Attributes:
        data: groups among which the rows of a batch are shared out.
        tensor: devices among which heads, intermediate size and vocabulary are shared out.
        local_processes: processes that share the devices of this machine; jaxgen starts them.
        processes: `auto` joins the job that this process was started in: of Slurm, Open MPI, Kubernetes or Cloud TPU.
        coordinator: HOST:PORT of process 0, to join a job by hand; each process is also told which it is:
        process_id, num_processes: its number, and how many there are.
    """

    data: int = 1
    tensor: int = 1
    local_processes: int = 1
    processes: Processes | None = None
    coordinator: str | None = None
    process_id: int | None = None
    num_processes: int | None = None

    def __post_init__(self):
        least = [key for key in ("data", "tensor", "local_processes") if getattr(self, key) < 1]
        problems = [f"mesh.{key}={getattr(self, key)} must be 1 or more" for key in least]
        problems = problems or [*self._muddled(), *self._misnumbered()]
        if problems:
            raise UserError.collected("impossible mesh", problems)

    def _muddled(self) -> list[str]:
        """Several ways to find the other processes, or half of one."""
        by_hand = {
            key: getattr(self, key) for key in ("coordinator", "process_id", "num_processes")
        }
        given = [f"mesh.{key}" for key, value in by_hand.items() if value is not None]
        missing = [f"mesh.{key}" for key, value in by_hand.items() if value is None]
        ways = [
            *(["mesh.local_processes"] if self.local_processes > 1 else []),
            *(["mesh.processes=auto"] if self.processes else []),
            *([", ".join(given)] if given else []),
        ]
        if len(ways) > 1:
            return [f"{' and '.join(ways)} are several ways to find the other processes: give one"]
        if given and missing:
            return [f"{', '.join(given)} needs {', '.join(missing)} too"]
        if self.coordinator and not re.fullmatch(r"\S+:\d+", self.coordinator):
            return [f"mesh.coordinator={self.coordinator} must be HOST:PORT"]
        return []

    def _misnumbered(self) -> list[str]:
        count = self.num_processes or self.local_processes
        if count < 1 or (self.process_id is not None and not 0 <= self.process_id < count):
            return [
                f"mesh.process_id={self.process_id} must be 0 or more and below mesh.num_processes={count}"
            ]
        if self.devices % count:
            told = f"mesh.data={self.data} x mesh.tensor={self.tensor}"
            return [f"{told} = {self.devices} devices are not divisible among {count} processes"]
        return []

    @property
    def joins(self) -> bool:
        """Whether the job's other processes are started by somebody else."""
        return self.processes is not None or self.coordinator is not None

    @property
    def host_devices(self) -> int | None:
        """Devices of one process; null where only the job knows how many processes there are."""
        return (
            None if self.processes else self.devices // (self.num_processes or self.local_processes)
        )

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
        """Parts of an axis; one without a field here is whole."""
        return getattr(self, axis) if axis in _CUT else 1

    def part(self, architecture: Architecture) -> Architecture:
        """What one device has of a model, as a model: what it reads and computes is counted from this.

        A table that is cut along its other axis has the bytes of so many rows.
        """
        return dataclasses.replace(
            architecture,
            num_heads=architecture.num_heads // self.heads,
            num_kv_heads=architecture.num_kv_heads // self.kv_heads,
            intermediate_size=architecture.intermediate_size // self.intermediate,
            vocab_size=architecture.vocab_size // (self.vocab * self.table),
        )

    def rows(self, count: int) -> int:
        """Rows of a batch with those that only fill it up, so that each group gets as many."""
        return -(-count // self.batch) * self.batch


_CUT = ("batch", "heads", "kv_heads", "intermediate", "vocab", "table")


def cut(mesh: MeshSpec, architecture: Architecture) -> Cut:
    """How a mesh cuts a model.

    Heads must come out even. Fewer kv heads than devices are kept whole on each, and so is an intermediate size that
    does not come out even; a vocabulary that does not is left whole, and its tables are cut along the hidden size.

    Raises:
        UserError: the heads, or kv heads that are as many as the devices or more, do not come out even.
    """
    ways, arch = mesh.tensor, architecture
    few = arch.num_kv_heads < ways
    uneven = {
        f"num_heads={arch.num_heads}": arch.num_heads % ways,
        f"num_kv_heads={arch.num_kv_heads}": 0 if few else arch.num_kv_heads % ways,
    }
    problems = [
        f"{told} is not divisible by mesh.tensor={ways}" for told, rest in uneven.items() if rest
    ]
    if problems:
        fits = [n for n in range(1, ways) if arch.num_heads % n == 0 and arch.num_kv_heads % n == 0]
        remedy = f"mesh.tensor may be {', '.join(map(str, fits))} below that"
        raise UserError.collected("the model's heads cannot be shared out", [*problems, remedy])
    reasons = []
    if few and ways > 1:
        reasons.append(
            f"its {arch.num_kv_heads} kv heads, fewer than mesh.tensor={ways}, are whole on every device"
        )
    if arch.intermediate_size % ways:
        reasons.append(
            f"its intermediate size, {arch.intermediate_size}, is not divisible by mesh.tensor={ways} and whole on "
            "every device"
        )
    whole_vocab = arch.vocab_size % ways != 0
    by_width = whole_vocab and arch.hidden_size % ways == 0
    if whole_vocab:
        how = "cut along the hidden size" if by_width else "whole on every device"
        reasons.append(
            f"its vocabulary, {arch.vocab_size}, is not divisible by mesh.tensor={ways}: its tables are {how}"
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
