"""What a run is held against when it is done (`gate=`)."""

import dataclasses

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class NoGate:
    """None: what an earlier run measured changes neither the report nor the exit code."""


@dataclasses.dataclass(frozen=True)
class Regression:
    """The candidate must not be slower than a stored run's; exit code 10 if it is.

    Attributes:
        against: a run folder, a result.json or a CSV of scores.
        threshold: the share by which a metric may be worse (0.1 is 10 %); beyond it, and beyond
            noise, it regressed.
    """

    against: str | None = None
    threshold: float = 0.10

    def __post_init__(self):
        # Nothing to compare with must never look like a gate that was passed.
        if not self.against:
            raise UserError(
                "gate=regression has nothing to compare with: set gate.against=PATH, "
                "a run folder, a result.json or a CSV of scores"
            )
        if not 0 <= self.threshold < 1:
            raise UserError(
                f"gate.threshold={self.threshold} must be 0 or more and below 1 (0.1 is 10 %)"
            )


GateSpec = NoGate | Regression
