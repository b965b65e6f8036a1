"""Where two answers to one prompt part, and whether rounding can explain it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Logprobs = Callable[[str, list[int], list[int]], list[float]]
"""(arm, tokens before, candidates) -> the arm's log-probability of each candidate as next token."""

ARMS = ("candidate", "baseline")


@dataclasses.dataclass(frozen=True)
class Divergence:
    """The first position at which the two answers to one prompt differ.

    Attributes:
        index: of the prompt.
        position: of the new token, from 0.
        candidate, baseline: the token each arm wrote; null where it had ended.
    """

    index: int
    position: int
    candidate: int | None
    baseline: int | None

    @property
    def place(self) -> str:
        """The position in words."""
        return f"prompt {self.index} parts at token {self.position}"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the arms say about one divergence.

    Attributes:
        at: the divergence.
        logprobs: by arm, of the candidate's token and of the baseline's; null where an arm had
            ended or gives no finite number.
        reason: why rounding does not explain it; null if it does.
    """

    at: Divergence
    logprobs: dict[str, list[float]] | None
    reason: str | None

    @property
    def shift(self) -> float | None:
        """The larger difference between the arms of the two log-probabilities."""
        if self.logprobs is None:
            return None
        pairs = zip(self.logprobs["candidate"], self.logprobs["baseline"], strict=True)
        return max(abs(ours - theirs) for ours, theirs in pairs)


Limit = Callable[[Finding, float], str | None]
"""(finding, tolerance) -> why rounding does not explain the divergence, or null."""


def first_divergence(candidate: Mapping, baseline: Mapping) -> Divergence | None:
    """Return the first position at which two output rows differ; null where they do not."""
    ours, theirs = candidate["tokens"], baseline["tokens"]
    # To the longer one's end: an answer that only stops earlier parts where it stops.
    for position in range(max(len(ours), len(theirs))):
        our_token = ours[position] if position < len(ours) else None
        their_token = theirs[position] if position < len(theirs) else None
        if our_token != their_token:
            return Divergence(candidate["index"], position, our_token, their_token)
    return None


def examine(
    at: Divergence, row: Mapping[str, Any], logprobs: Logprobs, *, limit: Limit, tolerance: float
) -> Finding:
    """Ask both arms for the log-probabilities of the two tokens at a divergence.

    Args:
        at: the divergence.
        row: the output row of the baseline, with `prompt_tokens` and `tokens`.
        logprobs: of an arm.
        limit: says what rounding leaves open.
        tolerance: how far rounding may move a log-probability, nats.
    """
    if at.candidate is None or at.baseline is None:
        ended = "candidate" if at.candidate is None else "baseline"
        return Finding(at, None, f"{at.place}, where the {ended} had ended")
    # Up to here both arms wrote the same tokens.
    before = [*row["prompt_tokens"], *row["tokens"][: at.position]]
    tokens = [at.candidate, at.baseline]
    by_arm = {arm: logprobs(arm, before, tokens) for arm in ARMS}
    # A comparison with NaN is false either way, so that it must not come to one.
    broken = [f"the {arm}'s" for arm in ARMS if not all(map(math.isfinite, by_arm[arm]))]
    if broken:
        reason = f"{at.place}, where {' and '.join(broken)} logits hold NaN or Inf"
        return Finding(at, None, reason)
    finding = Finding(at, by_arm, None)
    return dataclasses.replace(finding, reason=limit(finding, tolerance))


def limit_for(dtypes: Mapping[str, Sequence[str]], *, greedy: bool) -> Limit:
    """Return the rule by which rounding may explain a divergence.

    Args:
        dtypes: by arm, of all that it computes or stores in.
        greedy: whether tokens were chosen without chance.
    """
    if greedy:
        return _near_tie
    # Knob by knob, not as sets: float32 weights with a bfloat16 cache are not the other way round.
    if list(dtypes["candidate"]) != list(dtypes["baseline"]):
        return _drawn_alike
    return _never_alike


def _near_tie(finding: Finding, tolerance: float) -> str | None:
    """Greedy: in both arms the two tokens must be as good as equal.

    Each of the two log-probabilities may have moved by the tolerance, towards the other.
    """
    # Candidate's token 5 at -1.00 and baseline's 9 at -1.01 in one arm, -1.01 and -1.00 in the
    # other: gaps of 0.01, which float32's 2 x 0.001 does not explain and bfloat16's 2 x 0.5 does.
    gaps = []
    for arm, (ours, theirs) in (finding.logprobs or {}).items():
        gaps.append((abs(ours - theirs), arm))
    gap, arm = max(gaps)
    if gap <= 2 * tolerance:
        return None
    return (
        f"{finding.at.place} by {gap:.3g} in the {arm}'s log-probability, "
        f"more than twice the tolerance of {tolerance:.3g}"
    )


def _drawn_alike(finding: Finding, tolerance: float) -> str | None:
    """Drawn, from different dtypes: the two log-probabilities may have moved."""
    if finding.shift is None or finding.shift <= tolerance:
        return None
    return (
        f"{finding.at.place}, where a log-probability moved by {finding.shift:.3g}, "
        f"more than the tolerance of {tolerance:.3g}"
    )


def _never_alike(finding: Finding, tolerance: float) -> str | None:
    """Drawn, with one seed from the same dtypes: drawn tokens have no ties."""
    del tolerance
    return f"{finding.at.place}, though both arms draw with one seed from the same dtypes"
