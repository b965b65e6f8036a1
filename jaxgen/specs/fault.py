"""Faults put into an arm on purpose (`fault.*`), to show that jaxgen would find them."""

import dataclasses

from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong with an arm. Give it to one arm alone with
    `baseline.overrides=['fault.slowdown=0.05']`.

    Attributes:
        slowdown: extra work on the device after each call, as a share of the call's time (0.05 is 5
            %).
        recompile: compile one more small program at every call, inside the clock.
        wrong_token: the last token that the first row writes is another one.
        nan_weights: one weight tensor is NaN.
        clock: the clock runs this many times as fast as time does; 0.01 makes everything look 100
            times faster.
    """

    slowdown: float = 0.0
    recompile: bool = False
    wrong_token: bool = False
    nan_weights: bool = False
    clock: float = 1.0

    def __post_init__(self):
        problems = []
        # Ten times a call's time is more than any test needs, and makes every trial as long.
        if not 0 <= self.slowdown < 10:
            problems.append(
                f"fault.slowdown={self.slowdown} must be 0 or more and below 10 "
                "(0.05 is 5 % more work)"
            )
        # At 0 every time would be 0, and no ratio could be taken.
        if not 0 < self.clock < float("inf"):
            problems.append(
                f"fault.clock={self.clock} must be a positive number (1 is a true clock)"
            )
        if problems:
            raise UserError.collected("impossible fault", problems)
