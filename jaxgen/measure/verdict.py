"""The verdict: what may be claimed of the candidate, and one sentence that says why.

It reads a finished comparison, the agreement of the outputs and whatever spoilt the measurement;
the result, the report and the command line's last line all show what comes out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

REACH = 1.43
"""What a difference must have beyond the margin to be found in 80 % of the runs, in half-widths of
the interval: one, and 0.84 / 1.96 of another (the 80 % point of the normal distribution)."""

_ROUNDING = 1e-6
"""So little below 0.01 is 0.01 that has been through a logarithm."""

AGREEMENTS = ("identical", "rounding", "different", None)  # None: the outputs were not compared


def verdict(
    comparison: Mapping[str, Any] | None,
    *,
    margin: float,
    agreement: str | None,
    dirty: Sequence[str],
    candidate: str = "the candidate",
    baseline: str = "the baseline",
    margin_source: str | None = None,
) -> tuple[str, str]:
    """Judge by rule: outputs and dirt first, then the interval against the margin on either side.

    An interval inside the margins is `equivalent`: two one-sided tests, here at 2.5 % each
    (Schuirmann, "A Comparison of the Two One-Sided Tests Procedure and the Power Approach",
    Journal of Pharmacokinetics and Biopharmaceutics 15, 1987). The margins are equally far from 1
    as logarithms, so that swapping the arms swaps `faster` and `slower` and changes nothing else.

    Args:
        comparison: as `statistics.compare_pairs` gives it; None where no pair was measured.
        margin: the smallest difference that counts, as a share (0.02 = 2 %).
        agreement: "identical", "rounding", "different", or None where the outputs were not
            compared.
        dirty: what spoilt the measurement, each a clause such as "the candidate compiled in 3
            trials".
        candidate: the arm's name in the sentence.
        baseline: the same.
        margin_source: where the margin comes from, such as "the default"; it stands in the sentence
            where the margin decides.

    Returns:
        The verdict (`faster`, `slower`, `equivalent`, `inconclusive` or `invalid`) and its
        sentence. An invalid one holds no speed-up.
    """
    # A misspelt word must not pass for outputs that agree.
    if agreement not in AGREEMENTS:
        raise ValueError(f"agreement must be one of {AGREEMENTS}: {agreement!r}")
    reasons = []
    if agreement == "different":
        reasons.append(f"the outputs of {candidate} and {baseline} differ")
    reasons += dirty
    # No figure is given of a measurement that is spoilt: it would be believed all the same.
    if reasons:
        return "invalid", f"the measurement is invalid: {'; '.join(reasons)}"
    if comparison is None or comparison["ratio"] is None:
        reason = "cannot be compared: no pair of trials was measured"
        return "inconclusive", f"{candidate} and {baseline} {reason}"
    word, sentence = _judge(
        comparison, margin, margin_source, candidate=candidate, baseline=baseline
    )
    if agreement is None:
        sentence += "; the outputs were not compared"
    return word, sentence


def _judge(
    comparison: Mapping[str, Any],
    margin: float,
    margin_source: str | None,
    *,
    candidate: str,
    baseline: str,
) -> tuple[str, str]:
    """Say where the interval lies; the comparison has a ratio, but perhaps no interval."""
    ratio, interval = comparison["ratio"], comparison["ci95"]
    size = _size(comparison)
    gain = f"{_gain(ratio)} {baseline}"
    if interval is None:
        reason = f"{size} cannot tell how far blocks differ, so there is no interval"
        return "inconclusive", f"{candidate} measured {gain}, but {reason}"
    # The ratio alone decides nothing: the whole interval must lie on one side of the margin.
    word = place_of(interval, margin)
    evidence = f"95 % interval {_span(ratio, *interval)}, {size}"
    if word in ("faster", "slower"):
        sentence = f"{candidate} is {gain} ({evidence})"
        return word, sentence
    margin_text = f"{100 * margin:.3g} %"
    if margin_source:
        margin_text += f" ({margin_source})"
    if word == "equivalent":
        equal = f"{candidate} and {baseline} are equally fast within {margin_text}"
        return word, f"{equal}: {evidence}"
    certain = _certain(interval, margin_text)
    found = _detectable(interval, margin)
    measured = f"{candidate} measured {gain} ({evidence})"
    return word, f"{measured}: {certain}; {found}"


def place_of(interval: Sequence[float], margin: float) -> str:
    """Return the verdict that an interval stands for, by where it lies against the margins.

    Example:
        >>> [place_of(ends, 0.02) for ends in ([1.03, 1.08], [0.99, 1.01], [1.01, 1.05])]
        ['faster', 'equivalent', 'inconclusive']
    """
    low, high = interval
    # 1.02 and 1 / 1.02 are equally far from 1; 1.02 and 0.98 are not.
    most = 1 + margin
    least = 1 / most
    if low > most:
        return "faster"
    if high < least:
        return "slower"
    if low >= least and high <= most:
        return "equivalent"
    return "inconclusive"


def _certain(interval: Sequence[float], margin: str) -> str:
    """Say what an interval that does not settle the question says all the same."""
    low, high = interval
    if low > 1:
        return f"faster by at least {_percent(low)}; by {margin} is not settled"
    if high < 1:
        return f"slower by at least {_percent(high)}; by {margin} is not settled"
    return f"which of them is faster is not settled, nor that they are equal within {margin}"


def _detectable(interval: Sequence[float], margin: float) -> str:
    """Say which gain such a run finds in 80 % of the cases (the minimum detectable effect)."""
    low, high = interval
    half_width = math.log(high / low) / 2
    beyond = math.exp(REACH * half_width)
    gain = (1 + margin) * beyond
    text = _percent(gain)
    if gain >= 2:
        text = f"{_number(gain)}x"
    return f"a gain of {text} would have been found in 4 of 5 such runs"


def _gain(ratio: float) -> str:
    """Put a ratio in words.

    Such as "12.3x faster than", "3.1 % slower than" (0.969 of the speed), "as fast as".
    """
    word = "faster" if ratio > 1 else "slower"
    if ratio >= 2 or ratio <= 0.5:
        factor = max(ratio, 1 / ratio)
        return f"{_number(factor)}x {word} than"
    if ratio == 1:
        return "as fast as"
    return f"{_percent(ratio)} {word} than"


def _percent(ratio: float) -> str:
    """Write how far a ratio is from 1: to a tenth of a percent, or to its first digit below it."""
    difference = abs(100 * (ratio - 1))
    # "0.0 % faster" would say two things at once.
    if 0 < difference < 0.05:
        decimals = math.ceil(-math.log10(difference) - _ROUNDING)
        return f"{difference:.{decimals}f} %"
    return f"{difference:.1f} %"


def _span(ratio: float, low: float, high: float) -> str:
    """Put the interval in the terms of `_gain`.

    These are factors far from 1, else signed percent of the baseline's speed.
    """
    if ratio >= 2:
        return f"{_number(low)} to {_number(high)}"
    if ratio <= 0.5:
        # The factor says how many times slower: the reciprocal, which swaps the ends.
        least, most = 1 / high, 1 / low
        return f"{_number(least)} to {_number(most)}"
    least, most = _signed(low), _signed(high)
    return f"{least} to {most} %"


def _signed(end: float) -> str:
    """Write an end of the interval as signed percent, with as many digits as tell it from 0."""
    sign = "-" if end < 1 else "+"
    percent = _percent(end)
    return sign + percent.removesuffix(" %")


def _number(factor: float) -> str:
    """Write three significant digits, never an exponent: 2.04, 12.3, 1234."""
    if factor < 10:
        return f"{factor:.2f}"
    if factor < 100:
        return f"{factor:.1f}"
    return f"{factor:.0f}"


def _size(comparison: Mapping[str, Any]) -> str:
    """Say how much was measured, such as "24 pairs in 6 blocks in 2 processes"."""
    processes = comparison.get("processes") or 1
    pairs = _count(comparison["pairs"], "pair")
    blocks = _count(comparison["blocks"], "block")
    size = f"{pairs} in {blocks}"
    if processes == 1:
        return size
    return f"{size} in {processes} processes"


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}s"
