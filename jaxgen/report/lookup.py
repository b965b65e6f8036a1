"""Look up values in the sections of a result, where any part of a path may be missing or null."""

import math
from collections.abc import Mapping
from typing import Any

from jaxgen.results import formatting, means


def value_at(section: object, *path: str) -> Any:
    """Return the value at the end of a path of keys; None where a part of the path is missing."""
    value = section
    for key in path:
        # Damage and older results are no errors here: what is missing is shown as unknown.
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def number_at(section: object, *path: str) -> float | None:
    """Return the number at the end of a path; None where there is none, or none that is finite."""
    value = value_at(section, *path)
    # A truth value is an int to Python; as a figure it would be damage.
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return None


def median_of(arm: Mapping[str, Any], metric: str | None) -> float | None:
    """Return the median of an arm's metric, in the metric's own unit."""
    if metric is None:
        return None
    return number_at(arm, "metrics", metric, "median")


def mean_with_unit(arm: Mapping[str, Any], metric: str) -> str:
    """Write the geometric mean of an arm's metric with its unit, as the tables have it."""
    figures = arm["metrics"][metric]
    return _with_unit(means.mean_of(figures), figures["unit"])


def median_with_unit(arm: Mapping[str, Any], metric: str | None) -> str:
    """Write the median of an arm's metric with its unit: `955 tokens/s`, `3.29 ms`."""
    value = median_of(arm, metric)
    # An arm that failed, or has another workload, may lack the metric.
    if metric is None or value is None:
        return "unknown"
    return _with_unit(value, arm["metrics"][metric]["unit"])


def _with_unit(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    if unit == "s":
        return f"{formatting.number(1e3 * value, digits=3)} ms"
    return f"{formatting.number(value, digits=3)} {unit}"
