"""The same report for wandb: the words and tables of the pages, and the metrics that its panels are to draw."""

from jaxgen.report import pages
from jaxgen.report.pages import Page
from jaxgen.report.points import Point, points_of
from jaxgen.results import formatting
from jaxgen.tracking.report_sheet import Sheet


def sheet_of(page: Page) -> Sheet:
    """What is told of a page's runs to whoever reads it in wandb.

    Args:
        page: as it was written.

    Returns:
        The verdict and the tables, then the panels, then the environment and how to reproduce it.
    """
    points = points_of([part.run for part in page.runs])
    # In a grid each case has a ratio of its own, which the table tells; a wandb run has none then.
    ratios = [
        point.primary for point in points if point.ratio and not point.params and point.primary
    ]
    return Sheet(
        title=page.title,
        opening=pages.opening(page),
        closing=pages.closing(page),
        metrics=_headings(points),
        ratios=list(dict.fromkeys(ratios)),
        several=len(page.runs) > 1,
    )


def _headings(points: list[Point]) -> dict[str, str]:
    """Every metric that was measured, with the words for it."""
    found: dict[str, str] = {}
    for point in points:
        for name, block in point.arms["candidate"].get("metrics", {}).items():
            in_seconds = (
                f"{name.removesuffix('_s')}, s"  # as wandb has them: it is told the plain numbers
            )
            found.setdefault(
                name, in_seconds if block["unit"] == "s" else formatting.heading(name, block)
            )
    return found
