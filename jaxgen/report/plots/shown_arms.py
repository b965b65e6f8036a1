"""The arms that have a bar of their own, and what each is called."""

import dataclasses
from collections.abc import Sequence

from jaxgen.report.points import Point
from jaxgen.report.settings import arm_name
from jaxgen.results.schema import ArmResult


@dataclasses.dataclass(frozen=True)
class ShownArm:
    """One arm of one point, or the baseline that all points share."""

    label: str
    is_candidate: bool
    result: ArmResult


def shown_arms(points: Sequence[Point]) -> list[ShownArm]:
    """Return both arms of each point; a baseline that all points share comes once, at the end."""
    with_baseline = [point for point in points if "baseline" in point.arms]
    baselines = {_baseline_identity(point) for point in with_baseline}
    is_alone = len(points) == 1
    shown = []
    if is_alone or len(baselines) > 1:
        for point in points:
            arms = point.arms
            for name, arm in arms.items():
                # A single run has no settings that vary, and names its arms by what they differ in.
                label = arm_name(arms, name) if is_alone else point.arm_label(name)
                shown.append(ShownArm(label, name == "candidate", arm))
        return shown
    for point in points:
        candidate = point.arms["candidate"]
        shown.append(ShownArm(point.label, True, candidate))
    # The same baseline measured in every run of a sweep would double the bars.
    if with_baseline:
        baseline = with_baseline[0].arms["baseline"]
        shown.append(ShownArm("baseline", False, baseline))
    return shown


def one_point_of_each_run(points: Sequence[Point]) -> list[Point]:
    """Return the first case of each run, without the settings that are the case's own.

    Memory and startup are accounts of a process, and the cases of a run share one process.
    """
    first: dict[object, Point] = {}
    for point in points:
        first.setdefault(point.run.folder, point)
    alone = []
    for point in first.values():
        settings = {}
        for key, value in point.settings.items():
            # The first case stands for the run, and must not be named by its own parameters.
            if key not in point.params:
                settings[key] = value
        alone.append(dataclasses.replace(point, params={}, settings=settings))
    return alone


def _baseline_identity(point: Point) -> str:
    """Return a text that is equal for baselines that are the same arm in the same case."""
    config = point.arms["baseline"].get("config")
    # The parameters too: a batch of 1 and one of 8 are two measurements of one baseline.
    return f"{config} {dict(point.params)}"
