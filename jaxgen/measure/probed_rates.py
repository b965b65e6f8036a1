"""Which probed rates an arm is held against: the best of several probes that are alike."""

from collections.abc import Mapping, Sequence
from typing import Any

ALIKE = 2.0
"""Working sets of which the larger is up to so many times the smaller count as of one size."""


def best_probe(probes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Combine several probes of one arm.

    Args:
        probes: at least one, as `machine.probes.probe` returns them.

    Returns:
        The same keys: all samples, and the best rates with their forms.
    """
    # Each rate from its own best probe: what disturbs a probe only ever makes it slower.
    bandwidth = max(probes, key=lambda probe: probe["bandwidth_bytes_per_s"])
    flops = max(probes, key=lambda probe: probe["peak_flops_per_s"])
    bandwidth_samples, flops_samples = [], []
    for probe in probes:
        bandwidth_samples += probe["bandwidth_samples"]
        flops_samples += probe["flops_samples"]
    return {
        **bandwidth,
        "bandwidth_samples": bandwidth_samples,
        "peak_flops_per_s": flops["peak_flops_per_s"],
        "flops_samples": flops_samples,
        "flops_form": flops["flops_form"],
    }


def ceiling(own: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the rates that an arm is held against: the best of its own and of like probes.

    Two arms with a ceiling each could not be compared by their shares: probes a second apart differ
    by a tenth. So one that reads from the same level of memory on as many devices has the same
    bandwidth, and one that multiplies in the same dtype the same peak.

    Args:
        own: the arm's probe.
        others: those of the other arms.
    """
    merged = dict(own)
    for other in others:
        if own.get("devices") != other.get("devices"):
            continue
        best = best_probe([merged, other])
        # `best_probe` puts both rates together; taken is what is alike.
        if _reads_alike(own, other):
            for key in ("bandwidth_bytes_per_s", "bandwidth_samples", "bandwidth_form"):
                merged[key] = best[key]
        if own.get("dtype") is not None and own.get("dtype") == other.get("dtype"):
            for key in ("peak_flops_per_s", "flops_samples", "flops_form"):
                merged[key] = best[key]
    return merged


def _reads_alike(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    level = own.get("level")
    if level is not None or other.get("level") is not None:
        return level == other.get("level")
    # Where the caches are not known, working sets of about one size lie in the same one.
    sizes = sorted([own["working_set_bytes"], other["working_set_bytes"]])
    return sizes[1] <= ALIKE * sizes[0]
