"""The figure of an arm beside a ratio: a mean whose quotient with the other arm's is the ratio."""

import statistics
from collections.abc import Mapping
from typing import Any

from jaxgen.results.formatting import number

CELLS = "geometric means over blocks of trials ± standard deviation of one trial"
"""What stands in a cell of `mean_and_std`."""


def mean_of(metric: Mapping[str, Any]) -> float | None:
    """Return the geometric mean of a metric, weighted as the ratio is.

    The quotient of two arms' means is then their ratio, which that of their medians is not. A
    result of an older version has it not, and gives the plain geometric mean of its samples, which
    is the same where blocks and processes are of one size. None where nothing was measured.
    """
    mean = metric.get("geometric_mean")
    if mean is not None:
        return mean
    samples = [sample for sample in metric.get("samples") or () if sample is not None]
    if not samples or min(samples) <= 0:
        return None
    return statistics.geometric_mean(samples)


def mean_and_std(metric: Mapping[str, Any]) -> str:
    """Write the mean and, where known, the standard deviation; seconds as milliseconds."""
    mean = mean_of(metric)
    if mean is None:
        return "-"
    scale = 1e3 if metric["unit"] == "s" else 1.0
    text = number(scale * mean, digits=4)
    if metric["std"] is None:
        return text
    deviation = number(scale * metric["std"], digits=2)
    return f"{text} ± {deviation}"
