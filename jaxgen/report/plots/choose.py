"""Which plots a report has: of one point, of many, and of each run in a sweep."""

import re
from collections.abc import Sequence

from jaxgen.report.plots import (
    heat_map,
    intervals,
    latency,
    memory,
    over_time,
    pairs,
    roofline,
    scaling,
    startup,
    studies,
)
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.points import Point

MOST_RUNS = 24
"""With more runs than that, their own plots would drown what is common to all of them."""


def overview(points: Sequence[Point]) -> list[Drawing | LeftOut]:
    """Describe the plots of the whole report.

    Args:
        points: those of all runs.

    Returns:
        The plots in the order of the page; a plot that cannot be drawn has its place too.
    """
    # One point is seen trial by trial; many are seen by what varies between them.
    if len(points) == 1:
        point = points[0]
        own = [over_time.draw(point.run, points, name="trials"), _ratios(point, prefix="")]
    else:
        own = [
            intervals.draw(points, name="ratios"),
            heat_map.draw(points, name="heat-map"),
            scaling.draw(points, name="scaling"),
        ]
    # These have a bar or a mark for each arm, so that they serve one point as well as many.
    return [
        *own,
        latency.draw(points, name="latency"),
        startup.draw(points, name="startup"),
        memory.draw(points, name="memory"),
        roofline.draw(points, name="roofline"),
    ]


def of_run(points: Sequence[Point]) -> list[Drawing | LeftOut]:
    """Describe the plots of one run among several, or of a run with cases.

    Args:
        points: those of the run.

    Returns:
        Its trials, and its pairs where it has one point.
    """
    run = points[0].run
    # A run's name may be a path, and the plot's name is that of a file.
    stem = re.sub(r"[^\w.-]+", "_", run.name)
    prefix = f"run-{stem}-"
    drawn = [over_time.draw(run, points, name=f"{prefix}trials")]
    if len(points) == 1:
        drawn.append(_ratios(points[0], prefix=prefix))
    return drawn


def _ratios(point: Point, *, prefix: str) -> Drawing | LeftOut:
    """Describe the pairs of a measurement, or the measurements of a study."""
    # A study has no trials of one comparison, but many comparisons.
    if studies.repetitions(point.run) is not None:
        return studies.draw(point.run, name=f"{prefix}repetitions")
    return pairs.draw(point, name=f"{prefix}ratios")
