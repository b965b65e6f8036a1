"""The absolute scale: the least that a step must move and compute, and how near a time comes to it.

Arithmetic over the architecture alone, free of jax, after Williams, Waterman and Patterson,
"Roofline: An Insightful Visual Performance Model for Multicore Architectures", CACM 52, 2009. Bytes
are those that no implementation can avoid: each weight in use is read once a step, the slots that
the cache's rule makes visible are read, the new token's slots are written. Activations are ignored
(they fit a processor's caches), and so is whatever an arm copies beside: that is what its
utilisation is too low by. FLOPs are those that the program runs, padding included.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from jaxgen.measure.byte_counts import ElementBytes, weights_read
from jaxgen.specs.architecture import Architecture
from jaxgen.specs.cache import CacheSpec, step_depth

DISAGREEMENT = 2.0  # XLA counts fused traffic and element-wise work too: less is no contradiction
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
    """Count one pass of the model over `tokens` tokens of each row, with logits for the last one.

    FLOPs per token are 2 for each weight of a matrix, and in each layer 4 S N H for attention over
    S slots, its products with the keys and with the values: a third of what a training step takes,
    6 N + 12 L H Q T in the letters of Chowdhery et al., "PaLM", arXiv:2204.02311, appendix B.

    Args:
        rows: of the batch.
        tokens: per row: 1 for a step with a cache, else the padded prompt or prefix.
        depth: slots that each token's attention runs over, masked ones included.
        kept: whether keys and values are written to a cache and read from it; else they are
            activations.
        logits: of so many tokens of the vocabulary; null is all.
        slots: that a row of the cache has, where a window leaves fewer than there are tokens.
    """
    arch = architecture
    read = weights_read(arch, rows=rows, tokens=tokens, logits=logits)
    nbytes = element.moved(**read, tied=arch.tied)
    if kept:
        # Keys and values of one token, in all layers.
        kv_size = arch.num_kv_heads * arch.head_dim
        slot = 2 * arch.num_layers * kv_size
        most = depth if slots is None else slots
        slots_read = min(depth, most)
        slots_written = min(tokens, most)
        slots_used = rows * (slots_read + slots_written)
        nbytes += slots_used * slot * element.kv
    query_size = arch.num_heads * arch.head_dim
    per_slot = 4 * arch.num_layers * query_size
    attention = rows * tokens * depth * per_slot
    weights_used = tokens * read["kernels"] + read["head"]
    matmuls = 2 * rows * weights_used
    return Step(nbytes=nbytes, flops=float(matmuls + attention))


def decode_step(
    architecture: Architecture,
    cache: CacheSpec,
    *,
    element: ElementBytes,
    incremental: bool,
    rows: int,
    width: int,
    longest: int,
    new_tokens: int,
    capacity: int,
    first: int = 1,
) -> Step | None:
    """Count the mean step of a decode; null where the first token was all there was.

    Args:
        cache: its `depth` rule says how many slots each step reads.
        incremental: as the cache's kind has it: a step is fed the newest token alone, else the
            whole prefix.
        width: what the batch's prompts are padded to, by a bucket or by the cache.
        longest: tokens of the longest prompt in the batch.
        new_tokens: generated per row, the one of the prefill included.
        capacity: tokens that a row of the cache has room for.
        first: of the steps that count; 1 is the decode's first.
    """
    # Each step reads one slot more than the one before, so that no single depth stands for all.
    steps = []
    for taken in range(first, new_tokens):
        depth = step_depth(cache, width=width, longest=longest, capacity=capacity, taken=taken)
        step = forward(
            architecture,
            element,
            rows=rows,
            tokens=1 if incremental else depth,
            depth=depth,
            kept=incremental,
        )
        steps.append((step, 1))
    return mean_step(steps)


def prefill_step(
    architecture: Architecture,
    cache: CacheSpec,
    *,
    element: ElementBytes,
    incremental: bool,
    rows: int,
    width: int,
    capacity: int,
) -> Step:
    """Count the prefill of one batch; arguments as of `decode_step`."""
    slots = cache.reserved([capacity], capacity)
    return forward(
        architecture, element, rows=rows, tokens=width, depth=width, kept=incremental, slots=slots
    )


def mean_step(parts: Sequence[tuple[Step, int]]) -> Step | None:
    """Return the mean over several batches, each with how many steps it took; null without any."""
    total, nbytes, flops = 0, 0.0, 0.0
    for step, count in parts:
        total += count
        nbytes += step.nbytes * count
        flops += step.flops * count
    if not total:
        return None
    return Step(nbytes=nbytes / total, flops=flops / total)


def utilisation(
    step: Step | None,
    step_s: float | None,
    *,
    bandwidth_bytes_per_s: float | None,
    peak_flops_per_s: float | None,
) -> dict[str, float | None]:
    """Return the shares of the machine's best that a step of `step_s` seconds reaches.

    Returns:
        `mbu`, of memory bandwidth (Agarwal et al., "LLM Inference Performance Engineering: Best
        Practices", Databricks, 2023), and `mfu`, of peak FLOP/s (Chowdhery et al., "PaLM",
        arXiv:2204.02311, appendix B); null where a figure is not known.
    """
    shares: dict[str, float | None] = {"mbu": None, "mfu": None}
    if step is None or not step_s:
        return shares
    if bandwidth_bytes_per_s:
        shares["mbu"] = step.nbytes / step_s / bandwidth_bytes_per_s
    if peak_flops_per_s:
        shares["mfu"] = step.flops / step_s / peak_flops_per_s
    return shares


def tolerance(samples: Sequence[float]) -> float:
    """Return how far a probe's best lies above its median, as a share: so far may honest times go.

    Example:
        >>> tolerance([40e9, 50e9, 30e9])
        0.25
    """
    if not samples:
        return LEAST_TOLERANCE
    spread = max(samples) / statistics.median(samples) - 1
    return max(spread, LEAST_TOLERANCE)


def too_fast(
    used: Mapping[str, float | None],
    *,
    mbu_tolerance: float,
    mfu_tolerance: float,
    read_rate: str,
) -> str | None:
    """Say what no machine can do, as a clause about an arm; null where all is plausible.

    The tolerances are shares beyond 1 that the probe's own uncertainty explains; `read_rate` says
    what the share `mbu` is of.
    """
    limits = (("mbu", read_rate, mbu_tolerance), ("mfu", "peak FLOP/s", mfu_tolerance))
    beyond = []
    for key, name, slack in limits:
        share = used[key]
        if share is not None and share > 1 + slack:
            beyond.append(f"{share:.0%} of the {name}")
    if not beyond:
        return None
    return f"reaches {' and '.join(beyond)} that the probe measured: the timer is wrong"


def cost_disagreement(step: Step | None, cost: Mapping[str, float | None] | None) -> str | None:
    """Say where XLA's own count of a step and ours differ by more than twofold; null elsewhere.

    Args:
        step: ours, of the very program that `cost` is of: the decode at its last depth.
        cost: `flops` and `bytes_accessed` as `engine.hlo.inspection.examine` has them.
    """
    if step is None or not cost:
        return None
    pairs = (
        ("FLOPs", cost["flops"], step.flops),
        ("bytes", cost["bytes_accessed"], step.nbytes),
    )
    apart = []
    for name, theirs, ours in pairs:
        if theirs and ours and max(theirs / ours, ours / theirs) > DISAGREEMENT:
            apart.append(f"{theirs:.3g} {name} where {ours:.3g} were expected")
    return f"XLA counts {' and '.join(apart)} in a decode step" if apart else None
