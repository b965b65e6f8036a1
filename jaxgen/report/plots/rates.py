"""Rates of arithmetic as people write them."""

from jaxgen.results import formatting

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short_rate(flops_per_s: float) -> str:
    """Write a rate for a tick, beside which stands the unit: `100 G`."""
    value, prefix = _scaled(flops_per_s)
    return f"{value:g} {prefix}".strip()


def rate_in_words(flops_per_s: float) -> str:
    """Write a rate with its unit: `1.50 TFLOP/s`."""
    value, prefix = _scaled(flops_per_s)
    number = formatting.number(value, digits=3)
    return f"{number} {prefix}FLOP/s"


def _scaled(rate: float) -> tuple[float, str]:
    """Return a rate in the largest unit in which it is at least 1, and that unit's prefix."""
    for scale, prefix in _PREFIXES:
        if rate >= scale:
            return rate / scale, prefix
    return rate, ""
