"""Which plots a report has: of one point, of many, and of each run in a sweep."""

import re
from collections.abc import Sequence

from jaxgen.report.plots import heat_map, over_time, ratios, roofline, scaling, stacks, studies
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.points import Point

MOST_RUNS = 24
"""With more runs than that, their own plots would drown what is common to all of them."""


def overview(points: Sequence[Point]) -> list[Drawing | LeftOut]:
    """The plots of the whole report."""
    if len(points) == 1:
        return [
            over_time.draw(points[0].run, points, name="trials"),
            _ratios(points[0], ""),
            *_common(points),
        ]
    return [
        ratios.draw_intervals(points, name="ratios"),
        heat_map.draw(points, name="heat-map"),
        scaling.draw(points, name="scaling"),
        *_common(points),
    ]


def of_run(points: Sequence[Point]) -> list[Drawing | LeftOut]:
    """The plots of one run among several, or of a run with cases: its trials; its pairs, where it has one point."""
    run = points[0].run
    stem = re.sub(r"[^\w.-]+", "_", run.name)
    drawn = [over_time.draw(run, points, name=f"run-{stem}-trials")]
    if len(points) == 1:
        drawn.append(_ratios(points[0], f"run-{stem}-"))
    return drawn


def _ratios(point: Point, prefix: str) -> Drawing | LeftOut:
    """The pairs of a measurement, or the measurements of a study."""
    if studies.repetitions(point.run) is not None:
        return studies.draw(point.run, name=f"{prefix}repetitions")
    return ratios.draw_pairs(point, name=f"{prefix}ratios")


def _common(points: Sequence[Point]) -> list[Drawing | LeftOut]:
    return [
        stacks.draw_latency(points, name="latency"),
        stacks.draw_startup(points, name="startup"),
        stacks.draw_memory(points, name="memory"),
        roofline.draw(points, name="roofline"),
    ]
