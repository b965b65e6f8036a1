"""How the pure step becomes a compiled function (`jit=`)."""

import dataclasses
import enum


class Strategy(enum.Enum):
    """The six ways to bind one and the same step; `engine/binders.py` holds them."""

    closure = "closure"
    partial = "partial"
    partial_kept = "partial_kept"
    captured = "captured"
    aot = "aot"
    eager = "eager"


@dataclasses.dataclass(frozen=True)
class Jit:
    """The strategy of one arm.

    Attributes:
        strategy: how the step is bound and when it is compiled; each option of the group is one.
    """

    strategy: Strategy = Strategy.closure

    @property
    def recompiles(self) -> bool:
        """Whether compile events in a trial belong to the strategy rather than spoil it."""
        # Its two partials are new objects at every call, so that jit finds no earlier program.
        return self.strategy is Strategy.partial
