"""What a gate compares: the metrics of one arm, and the facts that make two runs comparable."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import Any

from jaxgen.results.schema import Direction, Result

ENVIRONMENT_KEYS = ("platform", "device_kind", "device_count", "cpu", "cores", "xla_flags")
PACKAGES = ("jax", "jaxlib")


@dataclasses.dataclass(frozen=True)
class Measured:
    """One metric of one arm in one case.

    Attributes:
        params: the case's parameters; empty for a run without cases.
        metric: its name.
        unit: of `value`.
        better: which way the metric points.
        value: the median (a CSV's throughput is a mean); None where nothing positive was measured.
        n: how many samples it is made of.
        spread: relative standard deviation of one sample (0.02 = 2 %); None below two samples.
    """

    params: Mapping[str, Any]
    metric: str
    unit: str
    better: Direction
    value: float | None
    n: int
    spread: float | None

    @property
    def key(self) -> tuple[str, str]:
        """What rows of two results are matched by: the case in words, and the metric."""
        case = " ".join(f"{name}={value}" for name, value in sorted(self.params.items()))
        return case, self.metric


def rows_of(result: Result, arm: str = "candidate") -> list[Measured]:
    """Return every metric of one arm, for each case, or for the run where it has no cases."""
    sections: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    for case in result.get("cases") or []:
        sections.append((case["params"], case["arms"]))
    if not sections:
        sections.append(({}, result["arms"]))
    rows = []
    for params, arms in sections:
        metrics = arms.get(arm, {}).get("metrics", {})
        rows += [_row(params, name, metric) for name, metric in metrics.items()]
    return rows


def environment_facts(environment: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what of a result's `environment` makes two measurements comparable.

    Returns:
        Facts by name, as text; what is unknown is left out.
    """
    known = environment or {}
    packages = known.get("packages") or {}
    facts = {name: known.get(name) for name in ENVIRONMENT_KEYS}
    facts |= {name: packages.get(name) for name in PACKAGES}
    return {name: str(value) for name, value in facts.items() if value is not None}


def _row(params: Mapping[str, Any], name: str, metric: Mapping[str, Any]) -> Measured:
    if metric["better"] not in ("higher", "lower"):
        raise ValueError(f"{name} is better when {metric['better']}")
    samples = [sample for sample in metric["samples"] if sample is not None and sample > 0]
    # Of logarithms, as the gate's noise is that of a ratio.
    logs = [math.log(sample) for sample in samples]
    return Measured(
        params=dict(params),
        metric=name,
        unit=metric["unit"],
        better=metric["better"],
        value=_positive(metric["median"]),
        n=len(samples),
        spread=statistics.stdev(logs) if len(logs) > 1 else None,
    )


def _positive(value: float | None) -> float | None:
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return value
