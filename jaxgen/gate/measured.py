"""What a gate compares: the metrics of one arm, and the facts that make two runs comparable."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import Any

from jaxgen.results.schema import Comparison, Direction, Result

PROCESSOR_KEYS = {"family": "cpu_family", "model": "cpu_model", "stepping": "cpu_stepping"}
"""What identifies a processor behind its name, which `AMD EPYC` alone does not: the keys of the
section `processor` of an environment, and what the facts are called. Older results lack them."""

MACHINE_KEYS = ("platform", "device_kind", "cpu", *PROCESSOR_KEYS.values(), "cores", "python")
SETTING_KEYS = ("device_count", "xla_flags")
ENVIRONMENT_KEYS = (*MACHINE_KEYS, *SETTING_KEYS)
PACKAGES = ("jax", "jaxlib")

UNSET = "unset"
"""XLA_FLAGS that a run is known not to have had; a file that does not say so lacks the fact."""

RATIO_UNIT = "x"
"""The unit of a ratio of candidate and baseline."""


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
        spread: relative standard deviation of one sample (0.02 = 2 %); None below two samples,
            and for a ratio.
        half_width: of the 95 % interval of the logarithm of `value`, where that is known directly:
            of a ratio that has an interval, and of several runs together.
    """

    params: Mapping[str, Any]
    metric: str
    unit: str
    better: Direction
    value: float | None
    n: int
    spread: float | None
    half_width: float | None = None

    @property
    def is_ratio(self) -> bool:
        """Whether the value is candidate over baseline, and not a level of the candidate alone."""
        return self.unit == RATIO_UNIT

    @property
    def key(self) -> tuple[str, str]:
        """What rows of two results are matched by: the case in words, and the metric."""
        # Sorted: two versions of jaxgen may write the parameters in another order.
        case = [f"{name}={value}" for name, value in sorted(self.params.items())]
        return " ".join(case), self.metric


def rows_of(result: Result, arm: str = "candidate") -> list[Measured]:
    """Return every metric of one arm, for each case, or for the run where it has no cases."""
    cases = result.get("cases") or []
    if not cases:
        return _rows_of_arm({}, result["arms"].get(arm))
    rows = []
    for case in cases:
        rows += _rows_of_arm(case["params"], case["arms"].get(arm))
    return rows


def ratios_of(result: Result) -> list[Measured]:
    """Return the candidate against the baseline in every metric that both have, by case.

    Above 1 the candidate is better, whatever the metric. An invalid case has no ratio.
    """
    cases = result.get("cases") or []
    if not cases:
        return _ratios_of_case({}, result.get("comparison") or {})
    rows = []
    for case in cases:
        rows += _ratios_of_case(case["params"], case.get("comparison") or {})
    return rows


def _ratios_of_case(
    params: Mapping[str, Any], comparison: Mapping[str, Comparison]
) -> list[Measured]:
    rows = []
    for metric, compared in comparison.items():
        interval = compared["ci95"]
        half_width = None
        if interval is not None:
            low, high = interval
            half_width = (math.log(high) - math.log(low)) / 2
        row = Measured(
            params=dict(params),
            metric=metric,
            unit=RATIO_UNIT,
            better="higher",
            value=_positive(compared["ratio"]),
            n=compared["blocks"],
            spread=None,
            half_width=half_width,
        )
        rows.append(row)
    return rows


def environment_facts(environment: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what of a result's `environment` makes two measurements comparable.

    Returns:
        Facts by name, as text; what is unknown is left out.
    """
    known = environment or {}
    packages = known.get("packages") or {}
    facts = {}
    for source, names in ((known, ENVIRONMENT_KEYS), (packages, PACKAGES)):
        for name in names:
            value = source.get(name)
            if value is not None:
                facts[name] = str(value)
    processor = known.get("processor") or {}
    for key, name in PROCESSOR_KEYS.items():
        if processor.get(key) is not None:
            facts[name] = str(processor[key])
    # Null is recorded where the variable was not set, and that is known: flags in one of two runs
    # alone are a difference.
    if "xla_flags" in known:
        facts["xla_flags"] = str(known["xla_flags"] or UNSET)
    return facts


def _rows_of_arm(params: Mapping[str, Any], arm: Mapping[str, Any] | None) -> list[Measured]:
    if arm is None:
        return []
    rows = []
    for name, metric in arm.get("metrics", {}).items():
        rows.append(_row(params, name, metric))
    return rows


def _row(params: Mapping[str, Any], name: str, metric: Mapping[str, Any]) -> Measured:
    # A file may be edited by hand: a misspelt direction would turn a regression into a gain.
    if metric["better"] not in ("higher", "lower"):
        raise ValueError(f"{name} is better when {metric['better']}")
    # The gate's noise is that of a ratio, so that the spread is taken of logarithms.
    logs = []
    for sample in metric["samples"]:
        if sample is not None and sample > 0:
            logs.append(math.log(sample))
    return Measured(
        params=dict(params),
        metric=name,
        unit=metric["unit"],
        better=metric["better"],
        value=_positive(metric["median"]),
        n=len(logs),
        spread=statistics.stdev(logs) if len(logs) > 1 else None,
    )


def _positive(value: float | None) -> float | None:
    # Rows are compared by their ratio, which neither 0 nor NaN has.
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return value
