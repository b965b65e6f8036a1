"""Whether two arms say the same: token by token, where they part whether rounding explains it, and how far their
distributions lie apart on the same tokens.

Reads the outputs of both arms. Log-probabilities at a divergence come from the arms through a callable and the
teacher-forced differences as plain data, so that nothing here needs jax.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxgen.agreement import forced as forced_differences
from jaxgen.agreement.excerpt import excerpts
from jaxgen.agreement.tolerance import tolerance
from jaxgen.results.schema import Agreement
from jaxgen.results.schema import Divergence as Divergent

Logprobs = Callable[[str, list[int], list[int]], list[float]]
"""(arm, tokens before, candidates) -> the arm's log-probability of each candidate as the next token."""

ARMS = ("candidate", "baseline")
NAMED = 3  # prompts that the reasons name one by one


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


@dataclasses.dataclass(frozen=True)
class Finding:
    """What the arms say about one divergence.

    Attributes:
        at: the divergence.
        logprobs: by arm, of the candidate's token and of the baseline's; null where an arm had ended or says no number.
        reason: why rounding does not explain it; null if it does.
    """

    at: Divergence
    logprobs: dict[str, list[float]] | None
    reason: str | None

    @property
    def moved(self) -> float | None:
        """The larger difference between the arms of the two log-probabilities."""
        if self.logprobs is None:
            return None
        return max(abs(a - b) for a, b in zip(*(self.logprobs[arm] for arm in ARMS), strict=True))


def compare(
    candidate: Sequence[dict],
    baseline: Sequence[dict],
    *,
    dtypes: Mapping[str, Sequence[str]],
    greedy: bool,
    logprobs: Logprobs,
    forced: Mapping[str, Any] | None = None,
) -> Agreement:
    """The `agreement` block of the result.

    `identical`: every token is. `rounding`: each prompt's first divergence is a near-tie, in both arms, within twice
    the tolerance (each of the two log-probabilities may have moved by it), and of the teacher-forced differences 99 in
    100 lie within the tolerance. `different`: anything else, named in `reasons`; NaN or Inf in either arm is always
    different. Drawn tokens have no ties: with a temperature, rounding is accepted only between arms of different
    dtypes, by the tolerance itself. Identical tokens from distributions that differ stay identical, with a warning.

    Args:
        candidate, baseline: rows with `index`, `prompt_tokens`, `tokens` and perhaps `text`, for the same prompts.
        dtypes: by arm, the names of all dtypes that it computes or stores in, knob by knob in the same order.
        greedy: whether tokens were chosen without chance.
        logprobs: asked only where the answers part.
        forced: what `engine.logit_comparison.compare_logits` says of the candidate on the baseline's answers.
    """
    allowed = tolerance(dtypes, forced["logit_spread"] if forced else None)
    pairs = list(zip(candidate, baseline, strict=True))
    mixed = list(dtypes["candidate"]) != list(dtypes["baseline"])
    limit = _near_tie if greedy else _drawn_alike if mixed else _never_alike
    findings = [
        _examine(parting, right, logprobs, limit=functools.partial(limit, allowed=allowed.value))
        for left, right in pairs
        if (parting := first_divergence(left, right)) is not None
    ]
    moved = [finding.moved for finding in findings if finding.moved is not None]
    kl = forced_differences.numbers(forced["kl"]) if forced else []
    if forced:  # then over all teacher-forced positions, else over the divergences alone
        moved += forced_differences.numbers(forced["max_abs_logprob_diff"])
    far = forced_differences.beyond(forced, allowed.value) if forced else []
    reasons = [
        *(forced_differences.non_finite(forced) if forced else []),
        *_named([finding.reason for finding in findings if finding.reason is not None]),
        *(far if findings else []),
    ]
    return {
        "status": "different" if reasons else "rounding" if findings else "identical",
        "reasons": reasons,
        "warnings": [*([] if findings else far), *_skipped(forced)],
        "tokens_compared": sum(
            min(len(left["tokens"]), len(right["tokens"])) for left, right in pairs
        ),
        "prompts_compared": len(pairs),
        "prompts_diverging": len(findings),
        "first_divergence": _report(findings[0], pairs, forced) if findings else None,
        "max_abs_logprob_diff": max(moved, default=None),
        "kl_max": max(kl, default=None),
        "kl_mean": sum(kl) / len(kl) if kl else None,
        "tolerance": allowed.value,
        "tolerance_reason": allowed.reason,
        "forced": forced_differences.facts(forced) if forced else None,
        "quality": forced_differences.quality(forced, against=dtypes["baseline"])
        if forced and mixed
        else None,
    }


def _report(
    finding: Finding, pairs: Sequence[tuple[dict, dict]], forced: Mapping[str, Any] | None
) -> Divergent:
    at = finding.at
    return {
        "index": at.index,
        "position": at.position,
        "candidate": at.candidate,
        "baseline": at.baseline,
        "logprobs": finding.logprobs,
        "margin": forced_differences.margins(forced, at.index, at.position),
        "excerpt": excerpts(*pairs[at.index], at.position),
    }


def _named(reasons: Sequence[str]) -> list[str]:
    """The first few; the others as a number."""
    more = len(reasons) - NAMED
    return [
        *reasons[:NAMED],
        *([f"{more} more prompt{'s' * (more > 1)} part beyond rounding"] if more > 0 else []),
    ]


def _skipped(forced: Mapping[str, Any] | None) -> list[str]:
    return (
        [f"the logits were not compared: {forced['skipped']}"]
        if forced and forced["skipped"]
        else []
    )


def first_divergence(candidate: dict, baseline: dict) -> Divergence | None:
    """Return the first position at which two rows differ; null where they do not."""
    left, right = candidate["tokens"], baseline["tokens"]
    for position in range(max(len(left), len(right))):
        ours = left[position] if position < len(left) else None
        theirs = right[position] if position < len(right) else None
        if ours != theirs:
            return Divergence(candidate["index"], position, ours, theirs)
    return None


def _examine(
    parting: Divergence, row: dict, logprobs: Logprobs, *, limit: Callable[..., str | None]
) -> Finding:
    """Ask both arms for the two tokens' log-probabilities at the divergence; `limit` says what rounding leaves open."""
    if parting.candidate is None or parting.baseline is None:
        ended = "candidate" if parting.candidate is None else "baseline"
        return Finding(parting, None, f"{_place(parting)}, where the {ended} had ended")
    before = [*row["prompt_tokens"], *row["tokens"][: parting.position]]
    by_arm = {arm: logprobs(arm, before, [parting.candidate, parting.baseline]) for arm in ARMS}
    broken = [arm for arm in ARMS if not all(map(math.isfinite, by_arm[arm]))]
    if broken:
        who = " and ".join(f"the {arm}'s" for arm in broken)
        return Finding(parting, None, f"{_place(parting)}, where {who} logits hold NaN or Inf")
    finding = Finding(parting, by_arm, None)
    return dataclasses.replace(finding, reason=limit(finding))


def _place(at: Divergence) -> str:
    return f"prompt {at.index} parts at token {at.position}"


def _near_tie(finding: Finding, *, allowed: float) -> str | None:
    """Greedy: in both arms the two tokens have to be as good as equal."""
    gap, arm = max(
        (abs(ours - theirs), arm) for arm, (ours, theirs) in (finding.logprobs or {}).items()
    )
    if gap <= 2 * allowed:
        return None
    return (
        f"{_place(finding.at)} by {gap:.3g} in the {arm}'s log-probability, more than twice the tolerance of "
        f"{allowed:.3g}"
    )


def _drawn_alike(finding: Finding, *, allowed: float) -> str | None:
    """Drawn, from different dtypes: the two log-probabilities may have moved."""
    if finding.moved is None or finding.moved <= allowed:
        return None
    return (
        f"{_place(finding.at)}, where a log-probability moved by {finding.moved:.3g}, more than the tolerance of "
        f"{allowed:.3g}"
    )


def _never_alike(finding: Finding, *, allowed: float) -> str | None:
    """Drawn, from the same dtypes."""
    del allowed
    return f"{_place(finding.at)}, though both arms draw with one seed from the same dtypes"
