"""The absolute scale: what a step must move and compute at least, and how near the measured time comes to that.

Arithmetic over the architecture alone, free of jax. Bytes are those that no implementation can avoid: each weight in
use is read once a step, the slots that the cache's rule makes visible are read, the new token's slots are written.
Activations are ignored (they fit a processor's caches), and so is whatever an arm copies beside: that is what its
utilisation is too low by. FLOPs are those that the program runs, padding included.
"""

import dataclasses
import functools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen.measure.byte_counts import ElementBytes, weight_elements
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import CacheSpec, step_depth

DISAGREEMENT = 2.0  # XLA counts fused traffic and element-wise work, we do not: less than this is no contradiction
LEAST_TOLERANCE = 0.1  # a probe of a few hundred milliseconds on a machine that is not ours alone


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step moves and computes.

    Attributes:
        nbytes: bytes read and written.
        flops: floating-point operations; a multiply-add is two.
    """

    nbytes: float
    flops: float


def forward(
    architecture: Architecture,
    element: ElementBytes,
    *,
    rows: int,
    tokens: int,
    depth: int,
    kept: bool,
    logits: int | None = None,
    slots: int | None = None,
) -> Step:
    """One pass of the model over `tokens` tokens of each row, and logits for the last one.

    Args:
        element: bytes per element.
        rows: of the batch.
        tokens: per row: 1 for a step with a cache, else the padded prompt or prefix.
        depth: slots that each token's attention runs over, masked ones included.
        kept: whether keys and values are written to a cache and read from it; else they are activations.
        logits: of so many tokens of the vocabulary; null is all.
        slots: that a row of the cache has, where a window leaves fewer than there are tokens.
    """
    arch, parts = architecture, weight_elements(architecture)
    table = parts["embedding"]
    head = table if logits is None else min(logits * arch.hidden_size, table)
    lookups = rows * tokens * arch.hidden_size
    covered = arch.tied and logits is None  # the head reads the embedding whole
    weights = element.moved(
        kernels=parts["kernels"],
        head=head,
        embedding=0 if covered else min(lookups, table),
        others=parts["vectors"] + min(lookups, parts["position"]),
        tied=arch.tied,
    )
    slot = 2 * arch.num_layers * arch.num_kv_heads * arch.head_dim  # keys and values of one token
    most = depth if slots is None else slots
    traffic = rows * (min(depth, most) + min(tokens, most)) * slot if kept else 0
    matmuls = 2 * rows * (tokens * parts["kernels"] + head)
    attention = 4 * rows * tokens * depth * arch.num_layers * arch.num_heads * arch.head_dim
    return Step(nbytes=weights + traffic * element.kv, flops=float(matmuls + attention))


def decode_step(
    architecture: Architecture,
    cache: CacheSpec,
    *,
    element: ElementBytes,
    incremental: bool,
    rows: int,
    longest: int,
    new_tokens: int,
    capacity: int,
    first: int = 1,
) -> Step | None:
    """The mean step of a decode; null where the first token was all there was.

    Args:
        cache: its `depth` rule says how many slots each step reads.
        incremental: as the cache's kind has it: a step is fed the newest token alone, else the whole prefix.
        longest: tokens of the longest prompt in the batch.
        new_tokens: taken per row, the one of the prefill included.
        capacity: tokens that a row of the cache has room for.
        first: of the steps that count; 1 is the decode's first.
    """
    width = cache.prompt_width(longest, capacity)
    at = functools.partial(step_depth, cache, width=width, longest=longest, capacity=capacity)
    depths = [at(taken=taken) for taken in range(first, new_tokens)]
    steps = [
        forward(
            architecture,
            element,
            rows=rows,
            tokens=1 if incremental else depth,
            depth=depth,
            kept=incremental,
        )
        for depth in depths
    ]
    return mean_step([(step, 1) for step in steps])


def prefill_step(
    architecture: Architecture,
    cache: CacheSpec,
    *,
    element: ElementBytes,
    incremental: bool,
    rows: int,
    longest: int,
    capacity: int,
) -> Step:
    """The prefill of one batch, padded as the cache has it; arguments as of `decode_step`."""
    width = cache.prompt_width(longest, capacity)
    slots = cache.reserved([capacity], capacity)
    return forward(
        architecture, element, rows=rows, tokens=width, depth=width, kept=incremental, slots=slots
    )


def mean_step(parts: Sequence[tuple[Step, int]]) -> Step | None:
    """The mean over several batches, each with how many steps it took; null without any step."""
    total = sum(count for _, count in parts)
    if not total:
        return None
    return Step(
        nbytes=sum(step.nbytes * count for step, count in parts) / total,
        flops=sum(step.flops * count for step, count in parts) / total,
    )


def utilisation(
    step: Step | None,
    step_s: float | None,
    *,
    bandwidth_bytes_per_s: float | None,
    peak_flops_per_s: float | None,
) -> dict[str, float | None]:
    """Shares of the machine's best that a step of `step_s` seconds reaches: `mbu` of bandwidth, `mfu` of FLOPs."""
    if step is None or not step_s:
        return {"mbu": None, "mfu": None}
    return {
        "mbu": step.nbytes / step_s / bandwidth_bytes_per_s if bandwidth_bytes_per_s else None,
        "mfu": step.flops / step_s / peak_flops_per_s if peak_flops_per_s else None,
    }


def best_probe(probes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several probes of one arm as one: all their samples, and the best rates with the forms that reached them.

    Args:
        probes: at least one, as `engine.probes.probe` returns them.
    """
    bandwidth = max(probes, key=lambda each: each["bandwidth_bytes_per_s"])
    flops = max(probes, key=lambda each: each["peak_flops_per_s"])
    return {
        **bandwidth,
        "bandwidth_samples": [sample for each in probes for sample in each["bandwidth_samples"]],
        "peak_flops_per_s": flops["peak_flops_per_s"],
        "flops_samples": [sample for each in probes for sample in each["flops_samples"]],
        "flops_form": flops["flops_form"],
    }


def tolerance(samples: Sequence[float]) -> float:
    """How far beyond a probe's best one may honestly get: as far as that best lies above its median.

    Example:
        >>> tolerance([40e9, 50e9, 30e9])
        0.25
    """
    spread = max(samples) / statistics.median(samples) - 1 if samples else 0.0
    return max(spread, LEAST_TOLERANCE)


def too_fast(
    used: Mapping[str, float | None], *, mbu_tolerance: float, mfu_tolerance: float
) -> str | None:
    """What no machine can do, as a clause about an arm; null where all is plausible.

    Args:
        used: `mbu` and `mfu` of `utilisation`.
        mbu_tolerance, mfu_tolerance: shares beyond 1 that the probe's own uncertainty explains.
    """
    limits = (("mbu", "memory bandwidth", mbu_tolerance), ("mfu", "peak FLOP/s", mfu_tolerance))
    beyond = [
        f"{share:.0%} of the {name}"
        for key, name, slack in limits
        if (share := used[key]) and share > 1 + slack
    ]
    return (
        f"reaches {' and '.join(beyond)} that the probe measured: the timer is wrong"
        if beyond
        else None
    )


def cost_disagreement(step: Step | None, cost: Mapping[str, float | None] | None) -> str | None:
    """Where XLA's own count of a step and ours differ by more than twofold, as a clause; null where they agree.

    Args:
        step: ours, of the very program that `cost` is of: the decode at its last depth.
        cost: `flops` and `bytes_accessed` as `engine.inspection.examine` has them.
    """
    if step is None or not cost:
        return None
    pairs = (("FLOPs", cost["flops"], step.flops), ("bytes", cost["bytes_accessed"], step.nbytes))
    apart = [
        f"{theirs:.3g} {name} where {ours:.3g} were expected"
        for name, theirs, ours in pairs
        if theirs and ours and max(theirs / ours, ours / theirs) > DISAGREEMENT
    ]
    return f"XLA counts {' and '.join(apart)} in a decode step" if apart else None
