"""How many measurements are made of the composed arms, and what they are for (`study=`)."""

import dataclasses
import math

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Single:
    """One measurement, one verdict (`study=single`)."""


@dataclasses.dataclass(frozen=True)
class Calibrate:
    """Measure A against itself in fresh pairs of processes (`study=calibrate`).

    It shows how far a start alone moves the ratio of two equal arms.

    Attributes:
        processes: fresh pairs of processes; the arms take turns in starting first.
        seconds: of short trials in each pair of processes; a note says where the mean of a pair is
            uncertain by more than 0.4 %.
    """

    processes: int = 8
    seconds: float = 10.0

    def __post_init__(self):
        # One pair says nothing of how pairs differ.
        if self.processes < 2:
            raise UserError(
                f"study.processes={self.processes} cannot show how starts differ; "
                "give 2 or more (8 is the default)"
            )
        if not 0 < self.seconds < math.inf:
            raise UserError(
                f"study.seconds={self.seconds} must be a finite number above 0, such as 10"
            )


@dataclasses.dataclass(frozen=True)
class Selftest:
    """Does jaxgen find what is there, and nothing that is not? (`study=selftest`).

    Attributes:
        repetitions: measurements of A against itself, and as many with a slowdown in one arm; the
            two processes exchange their names from one to the next.
        processes: fresh pairs of processes that share them out; the arms take turns in starting
            first.
        slowdown: the extra work in the slowed arm, as a share of a call's time.
        faults: whether each fault of `fault.*` is put in once, too.
        continues: a run folder of a self-test that was stopped: what it measured by the same plan,
            on the same kind of machine, counts too.
    """

    repetitions: int = 100
    processes: int = 5
    slowdown: float = 0.05
    faults: bool = True
    continues: str | None = None

    def __post_init__(self):
        _at_least_one("selftest", repetitions=self.repetitions, processes=self.processes)
        # A pair of processes without any measurement would only cost its start.
        if self.processes > self.repetitions:
            raise UserError(
                f"study.processes={self.processes} cannot share out "
                f"study.repetitions={self.repetitions}; lower it to {self.repetitions} or less"
            )
        # At 0 the slowed runs would be runs of equal arms, which the others are already.
        if not 0 < self.slowdown < 10:
            raise UserError(
                f"study.slowdown={self.slowdown} must be above 0 and below 10 "
                "(0.05 is 5 % more work)"
            )


StudySpec = Single | Calibrate | Selftest


def _at_least_one(study: str, **values: int) -> None:
    problems = [
        f"study.{key}={value} must be 1 or more" for key, value in values.items() if value < 1
    ]
    if problems:
        raise UserError.collected(f"impossible study={study}", problems)
