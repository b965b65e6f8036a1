"""The same report for wandb: the words and tables of the page, and the metrics to be drawn."""

from collections.abc import Sequence

from jaxgen.report import rendering
from jaxgen.report.page import Page
from jaxgen.report.points import Point, points_of
from jaxgen.results import formatting
from jaxgen.tracking.report_sheet import Sheet


def sheet_of(page: Page) -> Sheet:
    """Return what a page says, for whoever reads it in wandb.

    Args:
        page: as it was written.

    Returns:
        The verdict and the tables, then the panels, then the environment and how to reproduce it.
    """
    # The page holds finished tables; which metrics there are is known by the points alone.
    points = points_of([part.run for part in page.runs])
    return Sheet(
        title=page.title,
        opening=rendering.wandb_opening(page),
        closing=rendering.wandb_closing(page),
        metrics=_headings(points),
        ratios=_metrics_with_ratio(points),
        several=len(page.runs) > 1,
    )


def _metrics_with_ratio(points: Sequence[Point]) -> list[str]:
    """Return the metrics of the verdicts whose ratio is a value of a wandb run."""
    metrics = []
    for point in points:
        # In a grid each case has a ratio, which the table shows; a wandb run has none then.
        if point.ratio and point.primary and not point.params:
            metrics.append(point.primary)
    return list(dict.fromkeys(metrics))


def _headings(points: Sequence[Point]) -> dict[str, str]:
    """Return every metric that was measured, with its heading."""
    headings = {}
    for point in points:
        for name, figures in point.arms["candidate"].get("metrics", {}).items():
            # wandb is sent the numbers as they are, so that times stay in seconds there.
            in_seconds = f"{name.removesuffix('_s')}, s"
            heading = in_seconds if figures["unit"] == "s" else formatting.heading(name, figures)
            headings.setdefault(name, heading)
    return headings
