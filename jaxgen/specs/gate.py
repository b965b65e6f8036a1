"""What a run is held against when it is done (`gate=`)."""

import dataclasses

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class NoGate:
    """None: what an earlier run measured changes neither the report nor the exit code."""


@dataclasses.dataclass(frozen=True)
class Regression:
    """The candidate must not be slower than before; exit code 10 if it is, 20 if nobody can tell.

    Attributes:
        against: a run folder, a result.json or a CSV of scores; a pattern such as `runs/nightly/*`
            or a list of them takes several runs, whose spread is noise.
        commit: a revision of this repository instead: its code is measured as the baseline.
        threshold: the share by which a metric may be worse (0.1 is 10 %); beyond it, and beyond
            noise, it regressed.
        across: compare with a run of another machine or another version of jax too.
    """

    against: tuple[str, ...] | None = None
    commit: str | None = None
    threshold: float = 0.10
    across: bool = False

    def __post_init__(self):
        if self.against is not None:
            # One path becomes a list of one, so that whoever reads the spec meets one kind.
            is_list = isinstance(self.against, list | tuple)
            paths = tuple(self.against) if is_list else (self.against,)
            object.__setattr__(self, "against", tuple(str(path) for path in paths if path))
        # Nothing to compare with must never look like a gate that was passed.
        if not self.against and not self.commit:
            raise UserError(
                "gate=regression has nothing to compare with: set gate.against=PATH, "
                "a run folder, a result.json or a CSV of scores, or gate.commit=REVISION"
            )
        if self.against and self.commit:
            raise UserError(
                f"gate.against={','.join(self.against)} and gate.commit={self.commit} are two "
                "things to compare with; set one of them"
            )
        if not 0 <= self.threshold < 1:
            raise UserError(
                f"gate.threshold={self.threshold} must be 0 or more and below 1 (0.1 is 10 %)"
            )


GateSpec = NoGate | Regression
