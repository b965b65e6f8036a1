"""How much of a run is shown at the terminal (`console.*`)."""

import dataclasses
import enum


class Level(enum.Enum):
    """How much is printed.

    `quiet` is the outcome alone, `normal` adds progress and tables, `verbose` a line for each step.
    """

    normal = "normal"
    quiet = "quiet"
    verbose = "verbose"


@dataclasses.dataclass(frozen=True)
class ConsolePlan:
    """What is printed; what is written to the run folder is the same whatever it is.

    Attributes:
        level: `quiet` prints the verdict and the folder; `verbose` what each stage took, and each
            compile as it comes.
    """

    level: Level = Level.normal
