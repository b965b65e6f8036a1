"""How often intervals hold what they should, as a rate that has an interval itself."""

from scipy import special

from jaxgen.measure.interval import CONFIDENCE, TAIL

FAILS_AT, OF = 91, 100
"""So few intervals of 100 that hold the truth are too few: with intervals that hold it in 95 of 100
on average, 91 or fewer are seen in 6 % of all self-tests."""


def binomial_interval(held: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate, from how often something happened.

    It is the exact one (Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated
    in the Case of the Binomial", Biometrika 26, 1934).

    Example:
        >>> [round(end, 3) for end in binomial_interval(92, 100)]
        [0.848, 0.965]
    """
    missed = of - held
    low, high = 0.0, 1.0
    # The beta distribution has no parameter of 0: there the end is that of what is possible.
    if held:
        low = special.betaincinv(held, missed + 1, TAIL)
    if missed:
        high = special.betaincinv(held + 1, missed, 1 - TAIL)
    return float(low), float(high)


def is_too_low(held: int, of: int) -> bool:
    """Return whether so few intervals hold the truth that they are not 95 % intervals.

    Of 100 that is 91 or fewer; of another number, what is no likelier than that.
    """
    unlikely = special.bdtr(FAILS_AT, OF, CONFIDENCE)
    return bool(special.bdtr(held, of, CONFIDENCE) <= unlikely)
