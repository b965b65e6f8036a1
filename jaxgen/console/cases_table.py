"""The table of a grid on the terminal: a row for each case, with its figures and its verdict."""

from collections.abc import Sequence

from rich.table import Table

from jaxgen.console.plain_table import plain_table
from jaxgen.results import formatting, means, roofline_words
from jaxgen.results.schema import CaseResult, MeasuredArm, Metric

_PERCENTILES = ("p50", "p95", "p99")
_SCORING = "items_per_s"
"""The metric of a workload that answers requests, whose tail matters more than the bandwidth."""


def cases_table(arms: Sequence[str], cases: Sequence[CaseResult]) -> Table:
    """Make the table of a grid.

    Args:
        arms: their names, the candidate first.
        cases: all of the grid; those that were not measured have dashes.

    Returns:
        For each case its parameters, the metric of the verdict of each arm with what stands beside
        it, the ratio and the verdict. Without any measured case, the parameters alone.
    """
    # A parameter's name is longer than its values, and is broken over two lines.
    table = plain_table()
    for param in cases[0]["params"]:
        table.add_column(param.replace("_", "\n"), justify="right")
    metrics = _first_metrics(cases)
    if not metrics:
        return table
    # A workload lists the metric of its verdict first, and a row has room for one metric an arm.
    metric = next(iter(metrics))
    heading = formatting.heading(metric, metrics[metric])
    for arm in arms:
        table.add_column(f"{arm}\n{heading}", justify="right")
        for column in _columns_beside(arm, metric):
            table.add_column(column, justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("verdict")
    for case in cases:
        table.add_row(*_cells(case, arms, metric))
    return table


def _first_metrics(cases: Sequence[CaseResult]) -> dict[str, Metric]:
    """Return the candidate's metrics of the first case that was measured; empty without one."""
    for case in cases:
        metrics = case["arms"]["candidate"]["metrics"]
        if metrics:
            return metrics
    return {}


def _cells(case: CaseResult, arms: Sequence[str], metric: str) -> list[str]:
    params = case["params"].values()
    cells = [str(value) for value in params]
    for arm in arms:
        figures = case["arms"][arm]
        metrics = figures["metrics"]
        # A run that failed has cases that were never reached.
        if metrics:
            cells.append(means.mean_and_std(metrics[metric]))
        else:
            cells.append("-")
        cells += _cells_beside(arm, figures, metric)
    comparison = formatting.spoken(case).get(metric)
    cells.append(formatting.ratio_and_interval(comparison))
    cells.append(case["verdict"] or "")
    return cells


def _columns_beside(arm: str, metric: str) -> list[str]:
    """Return what follows an arm's metric: the tail of its requests, or the bandwidth."""
    if metric != _SCORING:
        return ["MBU"]
    names = _percentiles_of(arm)
    return [f"{name}, ms" for name in names]


def _cells_beside(arm: str, figures: MeasuredArm, metric: str) -> list[str]:
    if metric != _SCORING:
        share = roofline_words.share_of(figures.get("roofline"), "memory")
        return [formatting.percent(share)]
    names = _percentiles_of(arm)
    return [formatting.call_percentile(figures, name=name) for name in names]


def _percentiles_of(arm: str) -> Sequence[str]:
    """Return the percentiles that are shown of an arm; there is no room for both arms'."""
    if arm == "candidate":
        return _PERCENTILES
    return ()
