"""What is known of one case: trials, answers, what spoilt it, and its place on the absolute scale. No jax here."""

import dataclasses
from typing import Any

from jaxgen.measure import roofline
from jaxgen.measure.samples import Samples
from jaxgen.results.schema import Agreement

Facts = dict[str, Any]

DISTURBED = 2.0
"""How far beyond the probed rates a time must lie to be called impossible, as a share: on a machine that others use, a
probe a second away from the trials was seen to reach 40 % of what the decode did."""


@dataclasses.dataclass
class Outcome:
    """What is known of one case; several pairs of processes add to it.

    Attributes:
        samples: all trials.
        answers: rows of each arm, from the first processes.
        agreed: the block `agreement`; null with one arm alone.
        dirty: what spoils the measurement.
        blocks: measured so far.
        stopped_because: why each pair of processes measured no further block.
        repeats: calls in a trial.
        scale: of each arm, work and probed rates.
    """

    samples: Samples
    answers: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
    agreed: Agreement | None = None
    dirty: list[str] = dataclasses.field(default_factory=list)
    blocks: int = 0
    stopped_because: list[str] = dataclasses.field(default_factory=list)
    repeats: int = 1
    scale: dict[str, Facts] = dataclasses.field(default_factory=dict)


def rooflines(outcome: Outcome, arm: str) -> tuple[Facts, str | None]:
    """An arm's place on the absolute scale, and what is impossible about it, if anything."""
    scale, metrics = outcome.scale.get(arm), outcome.samples.summary(arm)["metrics"]
    if scale is None or scale["probe"] is None:
        return {}, None
    probe, used, impossible = scale["probe"], {}, None
    rates = {key: probe[key] for key in ("bandwidth_bytes_per_s", "peak_flops_per_s")}
    for metric, plain in scale["steps"].items():
        step = roofline.Step(nbytes=plain["bytes"], flops=plain["flops"]) if plain else None
        used[metric] = roofline.utilisation(step, metrics[metric]["median"], **rates)
        impossible = impossible or roofline.too_fast(
            used[metric],
            mbu_tolerance=max(DISTURBED, roofline.tolerance(probe["bandwidth_samples"])),
            mfu_tolerance=max(DISTURBED, roofline.tolerance(probe["flops_samples"])),
        )
    *first, last = scale["steps"]
    step = scale["steps"][last] or {"bytes": None, "flops": None}
    facts = {
        "bytes_per_step": step["bytes"],
        "flops_per_step": step["flops"],
        **rates,
        **used[last],
    }
    facts |= {
        "of": last,
        "working_set_bytes": probe["working_set_bytes"],
        "bandwidth_form": probe["bandwidth_form"],
    }
    if first:
        prefill = scale["steps"][first[0]] or {"bytes": None, "flops": None}
        facts["prefill"] = {"bytes": prefill["bytes"], "flops": prefill["flops"], **used[first[0]]}
    return facts, impossible


def beyond_probe(facts: Facts) -> str | None:
    """A clause about an arm that did more than was probed, though not so much that its clock must be wrong; else null.

    Args:
        facts: as `rooflines` gives them.
    """
    names = {"mbu": "memory bandwidth", "mfu": "peak FLOP/s"}
    blocks = (facts, facts.get("prefill", {}))
    beyond = [
        name for key, name in names.items() if any((block.get(key) or 0) > 1 for block in blocks)
    ]
    if not beyond:
        return None
    return f"reached more than 100 % of the {' and '.join(beyond)} that the probe measured: the probe was too low"


def better(one: Facts | None, other: Facts | None) -> Facts | None:
    """The probes of two moments as one; null where there was nothing to probe."""
    return roofline.best_probe([one, other]) if one and other else one or other
