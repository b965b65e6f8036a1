"""How far a fresh start alone moves the ratio of two equal arms: the outermost part of the noise.

Two processes that run the same program differ by a little that stays the same for as long as they
live, and no number of blocks inside them averages it out. What it comes to is measured once, by
calibration, on pairs of processes that hold equal arms and take turns in starting first.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class StartSpread:
    """The standard deviation of the log ratio from one pair of processes to the next.

    Attributes:
        deviation: of the means of the pairs about their mean, as a share (0.0072 = 0.72 %). What
            favours the arm that starts first is in it too, as the starts alternate.
        freedom: degrees of freedom of the estimate: the pairs of processes less one.
        source: where it comes from, in words, such as "this machine's calibration".
    """

    deviation: float
    freedom: int
    source: str


SHIPPED = StartSpread(0.0072, 13, "the value that comes with jaxgen, measured on another machine")
"""Of 14 pairs of processes with equal arms, embedded model, on two cores of an AMD EPYC: the root
mean square of their mean log ratios about 0, so that the bias of the first start is in it."""
