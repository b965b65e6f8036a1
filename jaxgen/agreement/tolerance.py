"""How far rounding may move a log-probability.

That depends on the narrowest dtype of two arms, and on how wide their logits are.
"""

import dataclasses
from collections.abc import Mapping, Sequence

TOLERANCES = {
    "float32": 1e-3,
    "tensorfloat32": 1e-1,
    "float16": 1e-1,
    "bfloat16": 5e-1,
    "int8": 1.0,
}
"""In nats, where the logits' standard deviation over the vocabulary is `MEASURED_SPREAD` or less.

float32 carries 24 bits: differences seen between caches stay near 2e-5, so 1e-3 is generous.
float16 carries 11 bits and bfloat16 8: on the small models of the four families, with logits a few
units wide, single log-probabilities moved by up to 0.084 and 0.45 against float32. int8 weights
with one scale per output channel moved the likeliest tokens' by 1.2 to 2.2 times what bfloat16 did
on the same models and tokens (0.47 against 0.22 at most): twice its tolerance. tensorfloat32, which
a GPU makes of float32 in products unless told otherwise, has float16's 11 bits, and its tolerance.
"""
PRECISION = {
    "float32": "24 bits of precision",
    "tensorfloat32": (
        "11 bits in the products of float32 (JAX_DEFAULT_MATMUL_PRECISION=highest has 24)"
    ),
    "float16": "11 bits of precision",
    "bfloat16": "8 bits of precision",
    "int8": "8 bits with one scale per channel",
}
MEASURED_SPREAD = 4.0
"""Rounding is relative: wider logits move further. Up to this spread the values above were
measured; beyond, they grow with it."""


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far a log-probability may move, in nats, and one sentence why."""

    value: float
    reason: str


def tolerance(dtypes: Mapping[str, Sequence[str]], logit_spread: float | None) -> Tolerance:
    """Return the tolerance for a pair of arms.

    Args:
        dtypes: by arm, the names of all dtypes that it stores or computes in.
        logit_spread: standard deviation of the logits over the vocabulary; null where it was not
            measured.
    """
    names = _by_tolerance(dtypes["candidate"])
    others = _by_tolerance(dtypes["baseline"])
    # Of two that are equally coarse the first: the reason must not change from run to run.
    of_both = [*dtypes["candidate"], *dtypes["baseline"]]
    coarsest = max(of_both, key=lambda name: TOLERANCES[name])
    if names == others:
        arms = f"both arms use {' and '.join(names)}"
    else:
        arms = f"{' and '.join(names)} against {' and '.join(others)}"
    # One arm's float32 does not help: the difference of the two is as coarse as the coarser one.
    value = TOLERANCES[coarsest]
    subject = "that is"
    if {*names, *others} != {coarsest}:
        subject = f"{coarsest}, the coarsest, has"
    reason = f"{arms}: {subject} {PRECISION[coarsest]}"
    # Rounding is relative: the same bits move wider logits further.
    if logit_spread is not None and logit_spread > MEASURED_SPREAD:
        value *= logit_spread / MEASURED_SPREAD
        reason += (
            f"; its {TOLERANCES[coarsest]:g} holds up to logits of standard deviation "
            f"{MEASURED_SPREAD:g}, and these have {logit_spread:.3g}"
        )
    return Tolerance(value, reason)


def _by_tolerance(names: Sequence[str]) -> list[str]:
    """Return each name once, the coarsest dtype last."""
    # By name where two are equally coarse: a set has another order in each process.
    return sorted(set(names), key=lambda name: (TOLERANCES[name], name))
