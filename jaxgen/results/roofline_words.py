"""The roofline in words: what of a step is reading, what is arithmetic, and what is neither."""

from collections.abc import Mapping
from typing import Any

from jaxgen.results import formatting

READ_RATES = {"memory": "memory bandwidth", "cache": "cache's read rate", None: "read rate"}
"""What the probed read rate is called, by where a step reads from; null where nobody knows."""


def read_rate(roofline: Mapping[str, Any] | None) -> str:
    """Return what the share `mbu` of an arm is a share of.

    Args:
        roofline: the section of that name; one of an older result does not say where it reads from.
    """
    return READ_RATES.get((roofline or {}).get("reads_from"), READ_RATES[None])


def share_of(roofline: Mapping[str, Any] | None, reads_from: str | None) -> float | None:
    """Return the share `mbu` where a step reads from there; null where it reads from elsewhere.

    Args:
        roofline: the section of that name.
        reads_from: `memory`, `cache`, or null for a level that is not known. Results from before it
            was told call all of them memory.
    """
    known = roofline or {}
    if known.get("reads_from", "memory") != reads_from:
        return None
    return known.get("mbu")


def step_in_words(roofline: Mapping[str, Any] | None) -> str | None:
    """Say how long a step takes, and how little of it its work explains; null where not known.

    Example:
        >>> step_in_words({"step_s": 3.36e-3, "bytes_s": 2e-4, "flops_s": 1.8e-4})
        'step 3.36 ms: its bytes need 0.20, its FLOPs 0.18: 94 % is overhead'
    """
    known = roofline or {}
    step_s, bytes_s, flops_s = known.get("step_s"), known.get("bytes_s"), known.get("flops_s")
    if not step_s or bytes_s is None or flops_s is None:
        return None
    step = formatting.number(1e3 * step_s, digits=3)
    reading = formatting.number(1e3 * bytes_s, digits=2)
    arithmetic = formatting.number(1e3 * flops_s, digits=2)
    text = f"step {step} ms: its bytes need {reading}, its FLOPs {arithmetic}"
    # Reading and arithmetic go on at the same time: the longer of them is what the step must take.
    overhead = 1 - max(bytes_s, flops_s) / step_s
    if overhead <= 0:
        return f"{text}: no overhead is left"
    return f"{text}: {100 * overhead:.0f} % is overhead"
