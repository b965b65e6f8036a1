"""How a sweep goes on where an earlier one stopped (`sweep.*`)."""

import dataclasses
import enum


class Retry(enum.Enum):
    """Which points that have no result are run again."""

    failed = "failed"
    none = "none"


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """Of use with `-m`. A sweep is repeated by giving its folder: `hydra.sweep.dir=FOLDER`.

    Attributes:
        resume: a point that has a completed result for the same configuration, code and machine is
            not run again.
        retry: `failed` runs points again that failed, `none` leaves them as they are.
        dry_run: show the points, those that are impossible with the reason, and how long the rest
            may take.
    """

    resume: bool = True
    retry: Retry = Retry.failed
    dry_run: bool = False
