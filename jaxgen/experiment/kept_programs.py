"""Which compiled programs the first pair of processes leaves to the further ones of a run."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgen.measure.interval import PROCESSES_FOR_STUDENT
from jaxgen.specs.arm import Arm
from jaxgen.specs.jit import Strategy

MOST_PROCESSES = PROCESSES_FOR_STUDENT - 1
"""With more pairs of processes the spread of their means is the interval; with fewer the start
spread is, as calibration measures it on pairs that compile for themselves."""


@dataclasses.dataclass(frozen=True)
class KeptPrograms:
    """Where the programs of each arm are kept while a run lasts.

    Attributes:
        folder: of the run; null keeps none.
    """

    folder: Path | None = None

    def where(self, arm: Arm, *, process: int) -> dict[str, Any]:
        """Return what an arm's worker is told when it warms up: arguments of `prepare`.

        Args:
            arm: with a folder of its own: it must not find what the other arm has compiled, which
                would look like a quick compiler.
            process: the number of the pair of processes in this run; the first one leaves the
                programs, the others find them.
        """
        if self.folder is None or not _can_be_kept(arm):
            return {}
        argument = "find_in" if process else "leave_in"
        return {argument: str(self.folder / arm.name)}


@contextlib.contextmanager
def kept_programs(*, processes: int) -> Iterator[KeptPrograms]:
    """Yield a place for programs that belongs to this run and is gone after it.

    The code of a program lies in memory in an order that each compile draws anew. Pairs that load
    one program share that draw, so that runs whose interval rests on how far their own pairs lie
    apart compile in each of them.

    Args:
        processes: the pairs of processes that the run has; one alone leaves nothing to others.
    """
    if processes < 2 or processes > MOST_PROCESSES:
        yield KeptPrograms()
        return
    with tempfile.TemporaryDirectory(prefix="jaxgen-programs-") as folder:
        yield KeptPrograms(Path(folder))


def _can_be_kept(arm: Arm) -> bool:
    """Return whether an arm's programs are worth a file, and found again by one process."""
    # The weights are constants of captured programs: writing them takes longer than compiling.
    if arm.run.jit.strategy is Strategy.captured:
        return False
    return arm.run.mesh.local_processes == 1 and not arm.run.mesh.joins
