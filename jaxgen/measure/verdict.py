"""The verdict: what may be claimed of the candidate, and one sentence that says why.

It reads a finished comparison, the agreement of the outputs and whatever spoilt the measurement;
the result, the report and the command line's last line all show what comes out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

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
    """Judge by rule: outputs and dirt first, then the interval against 1 - margin and 1 + margin.

    An interval inside the margins is `equivalent`: two one-sided tests, here at 2.5 % each
    (Schuirmann, "A Comparison of the Two One-Sided Tests Procedure and the Power Approach",
    Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).

    Args:
        comparison: as `statistics.compare_pairs` gives it; None where no pair was measured.
        margin: the smallest difference that counts, as a share (0.02 = 2 %).
        agreement: "identical", "rounding", "different", or None where the outputs were not
            compared.
        dirty: what spoilt the measurement, each a clause such as "the candidate compiled in 3
            trials".
        candidate: the arm's name in the sentence.
        baseline: the same.
        margin_source: where the margin comes from, such as "measure.margin"; it stands
            in the sentence where the margin decides.

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
    word = _place_of(interval, margin)
    evidence = f"95 % interval {_span(ratio, *interval)}, {size}"
    if word in ("faster", "slower"):
        return word, f"{candidate} is {gain} ({evidence})"
    percent = f"{100 * margin:.3g} %"
    source = f" ({margin_source})" if margin_source else ""
    if word == "inconclusive":
        unsettled = f"which does not settle it against a margin of {percent}{source}"
        return word, f"{candidate} measured {gain} ({evidence}), {unsettled}"
    equal = f"{candidate} and {baseline} are equally fast within {percent}"
    if source:
        return word, f"{equal}{source}: {evidence}"
    return word, f"{equal} ({evidence})"


def _place_of(interval: Sequence[float], margin: float) -> str:
    """Return the verdict that an interval stands for, by where it lies against the margins."""
    low, high = interval
    # With a margin of 2 % [1.03, 1.08] is faster, [0.99, 1.01] equivalent, [1.01, 1.05] neither.
    if low > 1 + margin:
        return "faster"
    if high < 1 - margin:
        return "slower"
    if low >= 1 - margin and high <= 1 + margin:
        return "equivalent"
    return "inconclusive"


def _gain(ratio: float) -> str:
    """Put a ratio in words.

    Such as "12.3x faster than", "3.1 % slower than" (0.969 of the speed), "as fast as".
    """
    word = "faster" if ratio > 1 else "slower"
    if ratio >= 2 or ratio <= 0.5:
        factor = max(ratio, 1 / ratio)
        return f"{_number(factor)}x {word} than"
    difference = abs(100 * (ratio - 1))
    percent = f"{difference:.1f}"
    # "0.0 % faster" would say two things at once.
    if percent == "0.0":
        return "as fast as"
    return f"{percent} % {word} than"


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
    least = 100 * (low - 1)
    most = 100 * (high - 1)
    return f"{least:+.1f} to {most:+.1f} %"


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
    return f"{size} in {processes} processes" if processes > 1 else size


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}s"
