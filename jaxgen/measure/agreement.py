"""Whether two arms say the same: token by token, and where they part, whether rounding explains it.

Reads the outputs of both arms; log-probabilities at a divergence come from the arms through a callable, so that
nothing here needs jax.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

TOLERANCES = {"float32": 1e-3, "float16": 1e-1, "bfloat16": 5e-1}
"""How far a log-probability may move by rounding, per the narrowest dtype on either side.

float32 carries 24 bits: differences seen between caches stay near 2e-5, so 1e-3 is generous. float16 carries 11 bits
and bfloat16 8: on the small models of the four families, with logits a few units wide, single log-probabilities moved
by up to 0.084 and 0.45 against float32.
"""

Logprobs = Callable[[str, list[int], list[int]], list[float]]
"""(arm, tokens before, candidates) -> the arm's log-probability of each candidate as the next token."""


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


def compare(
    candidate: Sequence[dict], baseline: Sequence[dict], *, dtypes: Sequence[str], greedy: bool, logprobs: Logprobs
) -> dict[str, Any]:
    """The `agreement` block of the result.

    `identical`: every token is. `rounding`: each prompt's first divergence is a near-tie, in both arms, within twice
    the tolerance (each of the two log-probabilities may have moved by it). `different`: anything else. Drawn tokens
    have no ties: with a temperature, rounding is accepted only between different dtypes, by the tolerance itself.

    Args:
        candidate, baseline: rows with `index`, `prompt_tokens` and `tokens`, for the same prompts.
        dtypes: names of all dtypes that either arm computes or stores in.
        greedy: whether tokens were chosen without chance.
        logprobs: asked only where the answers part.
    """
    tolerance = max(TOLERANCES[dtype] for dtype in dtypes)
    pairs = list(zip(candidate, baseline, strict=True))
    partings = [found for left, right in pairs if (found := _first_divergence(left, right)) is not None]
    compared = sum(min(len(left["tokens"]), len(right["tokens"])) for left, right in pairs)
    status, moved, first = "identical", None, None
    for parting in partings:
        details = _examine(parting, baseline[parting.index], logprobs)
        first = first or details
        within = details["within"](tolerance, greedy=greedy, mixed=len(set(dtypes)) > 1)
        status = "different" if not within or status == "different" else "rounding"
        if details["moved"] is not None:
            moved = max(moved or 0.0, details["moved"])
    return {
        "status": status,
        "tokens_compared": compared,
        "prompts_compared": len(pairs),
        "prompts_diverging": len(partings),
        "first_divergence": None if first is None else first["report"],
        "max_abs_logprob_diff": moved,
        "kl_max": None,
        "tolerance": tolerance,
    }


def _first_divergence(candidate: dict, baseline: dict) -> Divergence | None:
    left, right = candidate["tokens"], baseline["tokens"]
    for position in range(max(len(left), len(right))):
        ours = left[position] if position < len(left) else None
        theirs = right[position] if position < len(right) else None
        if ours != theirs:
            return Divergence(candidate["index"], position, ours, theirs)
    return None


def _examine(parting: Divergence, row: dict, logprobs: Logprobs) -> dict[str, Any]:
    """Ask both arms for the two tokens' log-probabilities at the divergence."""
    report: dict[str, Any] = dataclasses.asdict(parting)
    if parting.candidate is None or parting.baseline is None:
        return {"report": report, "moved": None, "within": lambda *_args, **_settings: False}
    before = [*row["prompt_tokens"], *row["tokens"][: parting.position]]
    tokens = [parting.candidate, parting.baseline]
    by_arm = {arm: logprobs(arm, before, tokens) for arm in ("candidate", "baseline")}
    if not all(math.isfinite(value) for values in by_arm.values() for value in values):  # NaN or Inf in the logits
        return {"report": report, "moved": None, "within": lambda *_args, **_settings: False}
    margins = [abs(ours - theirs) for ours, theirs in by_arm.values()]
    moved = max(abs(a - b) for a, b in zip(by_arm["candidate"], by_arm["baseline"], strict=True))

    def within(tolerance: float, *, greedy: bool, mixed: bool) -> bool:
        return max(margins) <= 2 * tolerance if greedy else mixed and moved <= tolerance

    return {"report": report | {"logprobs": by_arm, "margin": max(margins)}, "moved": moved, "within": within}
