"""Which commit made it slower: the search, without what measures.

Every commit is measured against the same good one, in pairs, so that the machine's drift falls out.
A commit counts as slow if it is nearer to the bad commit than to the good one: if the whole 95 %
interval of its ratio lies beyond half of the bad commit's slowdown, in logarithms.
"""

import dataclasses
import enum
import math
from collections.abc import Callable, Sequence

from jaxgen.gate.commits import short
from jaxgen.gate.measured import RATIO_UNIT, Measured
from jaxgen.gate.noise import pooled
from jaxgen.results.listing import first_few

MOST_ATTEMPTS = 3
"""Measurements of one commit; what they leave open is not settled."""

_MOST_NAMED = 6


class CannotRun(Exception):
    """Why a commit cannot be measured."""


class OutOfTime(Exception):
    """No further measurement may begin."""


class Answer(enum.Enum):
    """What the measurements of a commit say."""

    fast = "as fast as the good commit"
    slow = "slow"
    unsettled = "not settled"
    skipped = "skipped"


@dataclasses.dataclass(frozen=True)
class Step:
    """One commit that was looked at.

    Attributes:
        commit: its hash.
        answer: what came of it.
        ratio: of the commit and the good one, over all attempts; null where it cannot run.
        reason: why it cannot run, else empty.
    """

    commit: str
    answer: Answer
    ratio: Measured | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search ended with.

    Attributes:
        suspects: the commits of which one is the first slow one; one alone where it is settled.
        why_open: why there are several, else empty.
    """

    suspects: list[str]
    why_open: str = ""


Measure = Callable[[str, int], Measured]
"""Measures a commit against the good one, given its hash and the number of the attempt.

It returns the ratio of the metric of the verdict, and raises `CannotRun` or `OutOfTime`.
"""

Halve = Callable[[Sequence[str], str], list[str]]
"""Returns what is left between good commits and a bad one, as `commits.between` does."""


def ratio_of(value: float, interval: Sequence[float], *, metric: str) -> Measured:
    """Return a ratio with its 95 % interval as a row of a gate."""
    low, high = interval
    half_width = math.log(high / low) / 2
    return Measured({}, metric, RATIO_UNIT, "higher", value, 1, None, half_width)


def interval_of(ratio: Measured) -> tuple[float, float]:
    """Return the 95 % interval of a ratio."""
    assert ratio.value is not None, "a ratio that was measured has a value"
    width = math.exp(ratio.half_width or 0.0)
    return ratio.value / width, ratio.value * width


def cut_of(bad: Measured) -> float | None:
    """Return the ratio below which a commit counts as slow; null where the bad one is not slower.

    Args:
        bad: the bad commit against the good one.
    """
    _, high = interval_of(bad)
    if bad.value is None or high >= 1:
        return None
    return math.sqrt(bad.value)


def search(
    good: str,
    bad: str,
    *,
    cut: float,
    measure: Measure,
    halve: Halve,
    show: Callable[[Step], None],
) -> Found:
    """Find the first slow commit.

    Args:
        good: as fast as it should be.
        bad: slow, with `good` in its history.
        cut: from `cut_of`.
        measure: measures one commit.
        halve: lists the commits that are left.
        show: hears of every step.

    Returns:
        One commit, or those that the measurements cannot tell apart.
    """
    fast = [good]
    # What cannot run or is not settled stays a suspect, as with `git bisect skip`.
    open_steps: dict[str, Step] = {}
    while True:
        left = halve(fast, bad)
        untried = [commit for commit in left if commit != bad and commit not in open_steps]
        if not untried:
            return _found(left, open_steps)
        try:
            step = _step(untried[0], cut=cut, measure=measure)
        except OutOfTime as error:
            return Found(left, str(error))
        show(step)
        if step.answer is Answer.fast:
            fast.append(step.commit)
        elif step.answer is Answer.slow:
            bad = step.commit
        else:
            open_steps[step.commit] = step


def _step(commit: str, *, cut: float, measure: Measure) -> Step:
    """Measure a commit until its interval lies on one side of the cut, or too often."""
    ratios: list[Measured] = []
    for attempt in range(MOST_ATTEMPTS):
        try:
            ratios.append(measure(commit, attempt))
        except CannotRun as error:
            return Step(commit, Answer.skipped, reason=str(error))
        ratio = pooled(ratios, of_next=False)
        low, high = interval_of(ratio)
        if high < cut:
            return Step(commit, Answer.slow, ratio)
        if low > cut:
            return Step(commit, Answer.fast, ratio)
    return Step(commit, Answer.unsettled, pooled(ratios, of_next=False))


def _found(left: list[str], open_steps: dict[str, Step]) -> Found:
    """End the search: every commit that is left, but the bad one, was tried and stayed open."""
    if len(left) == 1:
        return Found(left)
    reasons = []
    for commit in left:
        step = open_steps.get(commit)
        if step is not None:
            reason = step.reason or "noise hides on which side it is"
            reasons.append(f"{short(commit)}: {reason}")
    return Found(left, first_few(reasons, most=_MOST_NAMED))
