"""How many measurements are made of the composed arms, and what they are for (`study=`)."""

import dataclasses

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Single:
    """One measurement, one verdict (`study=single`)."""


@dataclasses.dataclass(frozen=True)
class Calibrate:
    """Measure A against itself, again and again (`study=calibrate`).

    It shows how far apart two equal arms can seem on this machine.

    Attributes:
        repetitions: measurements in each pair of processes; each is `measure.blocks` blocks of
            `measure.trials` pairs.
        processes: fresh pairs of processes.
        max_seconds: no further measurement begins after this long, but for the first of each pair
            of processes.
    """

    repetitions: int = 10
    processes: int = 2
    max_seconds: float = 140.0

    def __post_init__(self):
        _at_least_one("calibrate", repetitions=self.repetitions, processes=self.processes)
        # Written with `not`, so that a value that is no number is refused as well.
        if not self.max_seconds >= 0:
            raise UserError(f"study.max_seconds={self.max_seconds} must be 0 or more")


@dataclasses.dataclass(frozen=True)
class Selftest:
    """Does jaxgen find what is there, and nothing that is not? (`study=selftest`).

    Attributes:
        repetitions: measurements of A against itself, and as many with a slowdown in one arm.
        processes: fresh pairs of processes that share them out.
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
