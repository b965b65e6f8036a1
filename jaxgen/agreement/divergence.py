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
class Draw:
    """What both arms' draws at a divergence have in common, and what each arm could draw.

    Attributes:
        temperature: that the logits are divided by.
        noise: added to the candidate's token's logit and to the baseline's token's, in both arms.
        standing: by arm, of both tokens: `in`, `edge` or `out` of the top k and the top p.
    """

    temperature: float
    noise: Sequence[float]
    standing: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the arms say about one divergence.

    Attributes:
        at: the divergence.
        logprobs: by arm, of the candidate's token and of the baseline's; null where an arm had
            ended or gives no finite number.
        reason: why rounding does not explain it; null if it does.
        draw: where both tokens were drawn with the same noise; null otherwise.
    """

    at: Divergence
    logprobs: dict[str, list[float]] | None
    reason: str | None
    draw: Draw | None = None

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
    at: Divergence,
    row: Mapping[str, Any],
    logprobs: Logprobs,
    *,
    limit: Limit,
    tolerance: float,
    draw: Draw | None = None,
) -> Finding:
    """Ask both arms for the log-probabilities of the two tokens at a divergence.

    Args:
        at: the divergence.
        row: the output row of the baseline, with `prompt_tokens` and `tokens`.
        logprobs: of an arm.
        limit: says what rounding leaves open.
        tolerance: how far rounding may move a log-probability, nats.
        draw: of the two tokens, if they were drawn and that is known.
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
    finding = Finding(at, by_arm, None, draw)
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
    return _drawn_together


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
    if finding.draw is not None:
        return _drawn_together(finding, tolerance)
    if finding.shift is None or finding.shift <= tolerance:
        return None
    return (
        f"{finding.at.place}, where a log-probability moved by {finding.shift:.3g}, "
        f"more than the tolerance of {tolerance:.3g}"
    )


def _drawn_together(finding: Finding, tolerance: float) -> str | None:
    """Drawn with one seed: both arms add the same noise, so that a near-tie is one with it.

    A token that is within rounding of the edge of the top k or the top p may be drawn in one arm
    and cut in the other, whatever the noise.
    """
    draw = finding.draw
    if draw is None:
        return f"{finding.at.place}, though both arms draw with one seed from the same dtypes"
    problems = []
    gaps = []
    for arm in finding.logprobs or {}:
        lead, own, other = _drawn_lead(finding, draw, arm)
        if own == "out":
            problems.append(f"{finding.at.place}, at a token that the {arm} cannot draw")
        elif lead < -2 * tolerance and other == "in":
            problems.append(_parts_by(finding, -lead, arm, tolerance))
        # Near the edge the other arm may have cut a token, however far it leads.
        if "edge" not in (own, other):
            gaps.append((abs(lead), arm))
    if problems:
        return problems[0]
    # One token at the edge, in either arm, explains any lead.
    gap, arm = max(gaps, default=(0.0, ""))
    if len(gaps) < len(ARMS) or gap <= 2 * tolerance:
        return None
    return _parts_by(finding, gap, arm, tolerance)


def _drawn_lead(finding: Finding, draw: Draw, arm: str) -> tuple[float, str, str]:
    """Return by how much the token that an arm drew leads the other, and where both stand.

    It has to lead in the log-probability and the noise together, unless the other one was cut.
    """
    assert finding.logprobs is not None, "an arm that had ended has drawn nothing"
    ours, theirs = finding.logprobs[arm]
    our_noise, their_noise = draw.noise
    noise_gap = our_noise - their_noise
    lead = ours - theirs
    lead += draw.temperature * noise_gap
    own, other = draw.standing[arm]
    if arm == "baseline":
        return -lead, other, own
    return lead, own, other


def _parts_by(finding: Finding, gap: float, arm: str, tolerance: float) -> str:
    """Say by how much the perturbed logits of two drawn tokens lie apart."""
    return (
        f"{finding.at.place} by {gap:.3g} in the {arm}'s log-probability and the noise of the "
        f"draw, more than twice the tolerance of {tolerance:.3g}"
    )
