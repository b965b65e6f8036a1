"""Whether two arms generate the same: token by token, and where they part, whether rounding
explains it; and how far their distributions lie apart on the same tokens.

It reads the outputs of both arms. Log-probabilities at a divergence come from the arms through a
callable and the teacher-forced differences as plain data, so that nothing here needs jax.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxgen.agreement import forced as forced_differences
from jaxgen.agreement.algorithm import reasons as algorithm_reasons
from jaxgen.agreement.divergence import (
    Draw,
    Finding,
    Logprobs,
    examine,
    first_divergence,
    limit_for,
)
from jaxgen.agreement.excerpt import excerpts
from jaxgen.agreement.tolerance import tolerance
from jaxgen.results import schema

MOST_NAMED = 3  # prompts that the reasons name one by one


def compare_tokens(
    candidate: Sequence[dict],
    baseline: Sequence[dict],
    *,
    dtypes: Mapping[str, Sequence[str]],
    greedy: bool,
    logprobs: Logprobs,
    forced: Mapping[str, Any] | None = None,
    draws: Mapping[int, Draw] | None = None,
    algorithm: schema.AlgorithmTest | None = None,
    kl_budget: float | None = None,
) -> schema.Agreement:
    """Compare the outputs of two arms; the section `agreement` of the result.

    `identical`: every token is, and the distributions are within rounding. `rounding`: these are,
    and each prompt's first divergence is a near-tie in both arms: of the two tokens'
    log-probabilities or, where both are drawn with one seed, of these and the noise that both arms
    add. `different`: anything else, named in `reasons`, whatever the tokens are; NaN or Inf always.

    Distributions are within rounding where `algorithm` says so, and where what the dtypes cost is
    within `kl_budget` or, without one, 99 in 100 of the differences are within the tolerance of the
    coarsest dtype.

    Args:
        candidate, baseline: rows with `index`, `prompt_tokens`, `tokens` and perhaps `text`, for
            the same prompts.
        dtypes: by arm, the names of all dtypes that it computes or stores in, knob by knob in the
            same order.
        greedy: whether tokens were chosen without chance.
        logprobs: called only where the outputs part.
        forced: what `engine.logit_comparison.compare_logits` says of the candidate on the
            baseline's outputs.
        draws: by prompt, of the divergences of drawn tokens.
        algorithm: what `algorithm.algorithm_test` says of both arms; null where nothing was tested.
        kl_budget: the mean KL divergence that the dtypes may cost, nats; null is no budget.
    """
    # How far rounding may go depends on the arms alone, not on what they wrote.
    allowed = tolerance(dtypes, forced["logit_spread"] if forced else None)
    pairs = list(zip(candidate, baseline, strict=True))
    examine_at = functools.partial(
        examine,
        logprobs=logprobs,
        limit=limit_for(dtypes, greedy=greedy),
        tolerance=_near(allowed.value, forced),
    )
    findings = _findings(pairs, draws or {}, examine_at)
    reasons, warnings = _reasons(findings, forced, allowed.value, kl_budget=kl_budget)
    reasons += algorithm_reasons(algorithm)
    agreement: schema.Agreement = {
        "status": _status(findings, reasons),
        "reasons": reasons,
        "warnings": warnings,
        "tokens_compared": _tokens_compared(pairs),
        "prompts_compared": len(pairs),
        "prompts_diverging": len(findings),
        "first_divergence": _first(findings, pairs, forced),
        "tolerance": allowed.value,
        "tolerance_reason": allowed.reason,
        "quality": _quality(forced, dtypes),
        "algorithm": algorithm,
        "kl_budget": kl_budget,
    }
    _add_distributions(agreement, findings, baseline, forced)
    return agreement


def _add_distributions(
    agreement: schema.Agreement,
    findings: Sequence[Finding],
    baseline: Sequence[Mapping[str, Any]],
    forced: Mapping[str, Any] | None,
) -> None:
    """Add how far the distributions lie apart, and to what depth that was seen."""
    shifts, kl = _differences(findings, forced)
    agreement["max_abs_logprob_diff"] = max(shifts, default=None)
    agreement["kl_max"] = max(kl, default=None)
    agreement["kl_mean"] = sum(kl) / len(kl) if kl else None
    agreement["forced"] = forced_differences.facts(forced) if forced else None
    agreement["depth_compared"] = _depth_compared(baseline, forced)


def _findings(
    pairs: Sequence[tuple[dict, dict]],
    draws: Mapping[int, Draw],
    examine_at: Callable[..., Finding],
) -> list[Finding]:
    """Look at each prompt's first divergence."""
    findings = []
    # After it the texts are others, and nothing about them can be compared.
    for ours, theirs in pairs:
        at = first_divergence(ours, theirs)
        if at is not None:
            findings.append(examine_at(at, theirs, draw=draws.get(at.index)))
    return findings


def _near(tolerance: float, forced: Mapping[str, Any] | None) -> float:
    """Return how far rounding may move a log-probability at a divergence.

    The tolerance is that of any model; these arms were seen to move by less. A tenth of it is left
    for what the teacher-forced programs round otherwise than the arms' own.
    """
    if forced is None:
        return tolerance
    moved = forced_differences.numbers(forced["max_abs_logprob_diff"])
    if not moved:
        return tolerance
    return min(tolerance, max(moved) + tolerance / 10)


def _depth_compared(
    baseline: Sequence[Mapping[str, Any]], forced: Mapping[str, Any] | None
) -> int | None:
    """Return the most tokens before a compared one; null where no logits were compared."""
    if forced is None:
        return None
    depths = []
    by_row = forced["max_abs_logprob_diff"]
    for row, differences in zip(baseline, by_row, strict=False):
        compared = [value for value in differences if value is not None]
        if not compared:
            continue
        prompt = len(row["prompt_tokens"])
        # The last of them was predicted by all tokens before it.
        depth = prompt + len(compared) - 1
        depths.append(depth)
    return max(depths, default=None)


def _tokens_compared(pairs: Sequence[tuple[dict, dict]]) -> int:
    # Up to the shorter one's end: behind it one arm has nothing to compare.
    total = 0
    for ours, theirs in pairs:
        total += min(len(ours["tokens"]), len(theirs["tokens"]))
    return total


def _quality(
    forced: Mapping[str, Any] | None, dtypes: Mapping[str, Sequence[str]]
) -> schema.Quality | None:
    """Return what narrower numbers cost; null where both arms have the same dtypes."""
    baseline = list(dtypes["baseline"])
    if forced is None or list(dtypes["candidate"]) == baseline:
        return None
    return forced_differences.quality(forced, against=baseline)


def _status(findings: Sequence[Finding], reasons: Sequence[str]) -> str:
    if reasons:
        return "different"
    return "rounding" if findings else "identical"


def _reasons(
    findings: Sequence[Finding],
    forced: Mapping[str, Any] | None,
    tolerance: float,
    *,
    kl_budget: float | None,
) -> tuple[list[str], list[str]]:
    """Return why the outputs count as different, and what the reader must know all the same."""
    # One reason a prompt, and rounding's own near-ties left out: those are no fault.
    named = _named([finding.reason for finding in findings if finding.reason is not None])
    if forced is None:
        return named, []
    reasons = forced_differences.non_finite(forced) + named
    # The same tokens from other distributions are luck: a trained model leads by so much that a
    # wrong cache changes few of its choices.
    if kl_budget is None:
        reasons += forced_differences.beyond(forced, tolerance)
    else:
        reasons += forced_differences.over_budget(forced, kl_budget)
    warnings = []
    if forced["skipped"]:
        warnings.append(f"the logits were not compared: {forced['skipped']}")
    return reasons, warnings


def _differences(
    findings: Sequence[Finding], forced: Mapping[str, Any] | None
) -> tuple[list[float], list[float]]:
    """Return how far log-probabilities lie apart, and the KL divergences.

    They are those of all teacher-forced positions and of the divergences, or of these alone.
    """
    shifts = [finding.shift for finding in findings if finding.shift is not None]
    if forced is None:
        return shifts, []
    # The divergences' own are kept beside: their positions may have been left out of the pass.
    shifts += forced_differences.numbers(forced["max_abs_logprob_diff"])
    return shifts, forced_differences.numbers(forced["kl"])


def _first(
    findings: Sequence[Finding],
    pairs: Sequence[tuple[dict, dict]],
    forced: Mapping[str, Any] | None,
) -> schema.Divergence | None:
    """Return the first divergence of all prompts, with both texts around it."""
    if not findings:
        return None
    finding = findings[0]
    at = finding.at
    ours, theirs = pairs[at.index]
    return {
        "index": at.index,
        "position": at.position,
        "candidate": at.candidate,
        "baseline": at.baseline,
        "logprobs": finding.logprobs,
        "margin": forced_differences.margins(forced, at.index, at.position),
        "excerpt": excerpts(ours, theirs, at.position),
    }


def _named(reasons: Sequence[str]) -> list[str]:
    """Name the first few prompts; count the others."""
    named = list(reasons[:MOST_NAMED])
    more = len(reasons) - MOST_NAMED
    if more > 0:
        named.append(f"{more} more prompt{'s' * (more > 1)} part beyond rounding")
    return named
