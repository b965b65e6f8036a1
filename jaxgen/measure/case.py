"""What is known of one case: trials, outputs, what spoilt it, its absolute scale. No jax here."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxgen.measure import probed_rates, roofline
from jaxgen.measure.samples import Samples
from jaxgen.measure.stopping import SETTLED
from jaxgen.results import roofline_words
from jaxgen.results.schema import Agreement

Facts = dict[str, Any]

DISTURBED = 2.0
"""How far beyond the probed rates a time must lie to be called impossible, as a share: on a machine
that others use, a probe a second away from the trials was seen to reach 40 % of what the decode
did.
"""


@dataclasses.dataclass
class Outcome:
    """What is known of one case; several pairs of processes add to it.

    Attributes:
        samples: all trials.
        answers: output rows of each arm, from the first processes.
        agreed: the section `agreement`; null with one arm alone.
        dirty: what spoils the measurement.
        blocks: measured so far.
        stopped_because: why each pair of processes measured no further block.
        repeats: calls in a trial of each arm, in the last pair of processes.
        scale: of each arm, work and probed rates.
    """

    samples: Samples
    answers: dict[str, list[dict]] = dataclasses.field(default_factory=dict)
    agreed: Agreement | None = None
    dirty: list[str] = dataclasses.field(default_factory=list)
    blocks: int = 0
    stopped_because: list[str] = dataclasses.field(default_factory=list)
    repeats: dict[str, int] = dataclasses.field(default_factory=dict)
    scale: dict[str, Facts] = dataclasses.field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether the last pair of processes ended its trials because nothing was left to ask."""
        return self.stopped_because[-1:] == [SETTLED]


def rooflines(outcome: Outcome, arm: str) -> tuple[Facts, str | None]:
    """Hold an arm's times against the probed rates of its device.

    Args:
        outcome: of the case.
        arm: its name.

    Returns:
        The keys of the section `roofline`, empty where nothing was probed; and what is impossible
        about them, as a clause, or null.
    """
    scale = outcome.scale.get(arm)
    if scale is None or scale["probe"] is None:
        return {}, None  # no step is known, such as where one token was all there was
    probe, steps = _ceiling(outcome, arm), scale["steps"]
    metrics = outcome.samples.summary(arm)["metrics"]
    shares: dict[str, Facts] = {}
    impossible = None
    for metric, work in steps.items():
        median = metrics[metric]["median"]
        shares[metric] = _shares(work, median, probe)
        # One impossible figure is enough: the clock is the same for all of them.
        impossible = impossible or _impossible(shares[metric], probe)
    # The last metric is that of a decode step, or of a whole scoring call; a prefill comes first.
    *first, last = steps
    facts = {
        **_work(steps[last], suffix="_per_step"),
        **shares[last],
        **_least_times(steps[last], metrics[last]["median"], probe),
        **_rates(probe),
        "of": last,
    }
    if first:
        prefill = first[0]
        work = _work(steps[prefill])
        facts["prefill"] = {**work, **shares[prefill]}
    return facts, impossible


def _ceiling(outcome: Outcome, arm: str) -> Facts:
    """Return the probed rates that an arm is held against, those of like arms included."""
    others = []
    for name, scale in outcome.scale.items():
        if name != arm and scale["probe"] is not None:
            others.append(scale["probe"])
    return probed_rates.ceiling(outcome.scale[arm]["probe"], others)


def _rates(probe: Facts) -> Facts:
    return {
        "bandwidth_bytes_per_s": probe["bandwidth_bytes_per_s"],
        "peak_flops_per_s": probe["peak_flops_per_s"],
        "working_set_bytes": probe["working_set_bytes"],
        "bandwidth_form": probe["bandwidth_form"],
        "reads_from": _reads_from(probe),
    }


def _reads_from(probe: Facts) -> str | None:
    """Return `cache` or `memory`; null where it is not known."""
    level = probe.get("level")
    if level is None or level == "memory":
        return level
    return "cache"


def _least_times(
    work: Mapping[str, float] | None, step_s: float | None, probe: Facts
) -> dict[str, float | None]:
    """Return the seconds of a step, and those that its bytes and its FLOPs take at least."""
    if work is None or not step_s:
        return {"step_s": None, "bytes_s": None, "flops_s": None}
    return {
        "step_s": step_s,
        "bytes_s": work["bytes"] / probe["bandwidth_bytes_per_s"],
        "flops_s": work["flops"] / probe["peak_flops_per_s"],
    }


def _shares(work: Mapping[str, float] | None, step_s: float | None, probe: Facts) -> Facts:
    step = None
    if work is not None:
        step = roofline.Step(nbytes=work["bytes"], flops=work["flops"])
    return roofline.utilisation(
        step,
        step_s,
        bandwidth_bytes_per_s=probe["bandwidth_bytes_per_s"],
        peak_flops_per_s=probe["peak_flops_per_s"],
    )


def _impossible(shares: Facts, probe: Facts) -> str | None:
    bandwidth_spread = roofline.tolerance(probe["bandwidth_samples"])
    flops_spread = roofline.tolerance(probe["flops_samples"])
    return roofline.too_fast(
        shares,
        mbu_tolerance=max(DISTURBED, bandwidth_spread),
        mfu_tolerance=max(DISTURBED, flops_spread),
        read_rate=roofline_words.READ_RATES[_reads_from(probe)],
    )


def _work(step: Mapping[str, float] | None, *, suffix: str = "") -> Facts:
    """Return the bytes and FLOPs of a step under keys with a suffix."""
    facts: Facts = {}
    for key in ("bytes", "flops"):
        value = None
        if step is not None:
            value = step[key]
        facts[key + suffix] = value
    return facts


def beyond_probe(facts: Facts) -> str | None:
    """Say which probed rates an arm exceeded, though not so far that its clock must be wrong.

    Args:
        facts: as `rooflines` gives them.

    Returns:
        A clause about the arm, or null.
    """
    names = {"mbu": roofline_words.read_rate(facts), "mfu": "peak FLOP/s"}
    prefill = facts.get("prefill", {})
    beyond = []
    for key, name in names.items():
        # A decode shows a low bandwidth, a prefill low peak FLOP/s: both are looked at for both.
        of_decode = facts.get(key) or 0
        of_prefill = prefill.get(key) or 0
        if max(of_decode, of_prefill) > 1:
            beyond.append(name)
    if not beyond:
        return None
    return (
        f"reached more than 100 % of the {' and '.join(beyond)} that the probe measured: "
        "the probe was too low"
    )


def better(one: Facts | None, other: Facts | None) -> Facts | None:
    """Return the probes of two moments as one; null where there was nothing to probe."""
    if one and other:
        return probed_rates.best_probe([one, other])
    return one or other
