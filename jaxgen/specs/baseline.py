"""What makes the baseline arm differ from the candidate (`baseline=`)."""

import dataclasses

from jaxgen.errors import UserError
from jaxgen.specs.run import ARM_SLOTS


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The changes that make the baseline of the candidate.

    Attributes:
        enabled: false measures the candidate alone.
        model, cache, jit, dtype, mesh: an option of that group; null keeps the candidate's.
        overrides: anything else, in the command line's syntax.
    """

    enabled: bool = True
    model: str | None = None
    cache: str | None = None
    jit: str | None = None
    dtype: str | None = None
    mesh: str | None = None
    overrides: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "overrides", tuple(self.overrides))


# By the names of the fields, so that a new key above needs no second list.
REPLACEABLE = tuple(field.name for field in dataclasses.fields(Baseline) if field.name in ARM_SLOTS)
"""Slots of which a baseline may have an option of its own, by a key of that name."""


def in_the_baseline(error: UserError) -> UserError:
    """Return the same error for a baseline that is impossible although the candidate is not."""
    own = "set the baseline's own values with \"baseline.overrides=['KEY=VALUE']\""
    return UserError(f"in the baseline: {error}; {own}")
