"""Every trial in the order of time, both arms, each against its own median.

A machine that changes while it is measured is seen at once.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxgen.measure.drift import MIN_SAMPLES, NOTABLE_CHANGE, NOTABLE_P
from jaxgen.report.lookup import median_with_unit, number_at, value_at
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.relative_trials import (
    RelativeTrial,
    borders,
    is_marked,
    relative_trials,
    thinned,
    trials_a_dot,
)
from jaxgen.report.plots.style import (
    ALERT,
    ARM_COLOURS,
    GRID,
    axes_of,
    legend_above,
    shortened,
)
from jaxgen.report.points import Point
from jaxgen.report.settings import arm_name
from jaxgen.results.collection import StoredRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUBJECT = "paired trials over time"
_LOG_FROM = 3.0
"""The axis is logarithmic where the largest value is so many times the smallest."""
_MOST_NUMBERS = 5  # of six digits each, so many stand beside each other
_LABEL_LETTERS = 54
"""In the widest letters that names are made of, so many fill the picture to its edge."""


def draw(run: StoredRun, points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw the trials of one run.

    Args:
        run: the one whose trials are drawn.
        points: the run's own.
        name: that of the plot's files.
    """
    # Trials may be missing though the result is there: they lie in a file of their own.
    if not run.trials:
        return LeftOut(name, _SUBJECT, run.no_trials or "there are no trials")
    trials = relative_trials(run, {point.case: point.primary for point in points})
    if not trials:
        return LeftOut(name, _SUBJECT, "no trial has a figure")
    arms = list(run.result["arms"])
    of_arm = [_of(trials, arm) for arm in arms]
    # A hundred thousand dots make a page of many megabytes and a grey block.
    together = trials_a_dot(of_arm)
    series = []
    for arm, own in zip(arms, of_arm, strict=True):
        label = _label(points, arm)
        colour = ARM_COLOURS.get(arm, GRID)
        series.append(_Series(label, colour, thinned(own, together)))
    return Drawing(
        name,
        title=_title(run, points),
        alt=_in_words(trials, series),
        put=lambda figure: _put(axes_of(figure), series, borders(run.trials)),
        height_in=2.7,
        note=_note(run, together),
    )


@dataclasses.dataclass(frozen=True)
class _Series:
    """The dots of one arm."""

    label: str
    colour: str
    dots: list[RelativeTrial]


def _of(trials: Sequence[RelativeTrial], arm: str) -> list[RelativeTrial]:
    return [trial for trial in trials if trial.arm == arm]


def _in_words(trials: Sequence[RelativeTrial], series: Sequence[_Series]) -> str:
    values = [trial.value for trial in trials]
    labels = [one.label for one in series]
    return (
        f"{len(trials)} trials; {'; '.join(labels)}; "
        f"between {min(values):.2f} and {max(values):.2f} of the median."
    )


def _note(run: StoredRun, together: int) -> str | None:
    notes = []
    if together > 1:
        notes.append(f"Each dot is the median of {together} trials in a row.")
    dirty = []
    for trial in run.trials:
        if is_marked(trial):
            dirty.append(trial)
    if dirty:
        counts = f"{len(dirty)} of {len(run.trials)} trials"
        notes.append(f"{counts} saw a compile or were void: marked with a cross.")
    return " ".join(notes) or None


def _label(points: Sequence[Point], arm: str) -> str:
    """Name an arm in the key by as many of its settings as there is room for."""
    first = points[0]
    median = ""
    if len(points) == 1 and first.primary:
        level = median_with_unit(first.arms[arm], first.primary)
        median = f": median {level}"
    # The median is the figure of the picture and is never cut.
    room = _LABEL_LETTERS - len(median)
    for most in (2, 1):
        name = arm_name(first.arms, arm, most=most)
        if len(name) <= room:
            return f"{shortened(name, room)}{median}"
    return f"{shortened(arm, room)}{median}"


def _put(axes: "Axes", series: Sequence[_Series], borders: Sequence[int]) -> None:
    for number in borders:
        # Between the last trial of one block and the first of the next.
        axes.axvline(number + 0.5, color=GRID, linewidth=0.6)
    values = []
    for one in series:
        _put_arm(axes, one)
        values += [trial.value for trial in one.dots]
    _set_axes(axes, values)
    legend_above(axes, columns=1)


def _put_arm(axes: "Axes", arm: _Series) -> None:
    """Draw the trials of an arm as dots on a line; those that compiled or are void have a cross."""
    numbers = [trial.number for trial in arm.dots]
    values = [trial.value for trial in arm.dots]
    axes.plot(
        numbers,
        values,
        color=arm.colour,
        linewidth=0.7,
        alpha=0.5,
    )
    axes.plot(
        numbers,
        values,
        "o",
        color=arm.colour,
        markersize=3.2,
        markeredgewidth=0,
        label=arm.label,
    )
    marked = [trial for trial in arm.dots if trial.is_marked]
    if marked:
        axes.plot(
            [trial.number for trial in marked],
            [trial.value for trial in marked],
            "x",
            color=ALERT,
            markersize=6,
            markeredgewidth=1.4,
        )


def _set_axes(axes: "Axes", values: Sequence[float]) -> None:
    # One trial that compiled would else press all others onto a line.
    if max(values) > _LOG_FROM * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_as_factor)
        # Within a decade it is the minor ticks that are named.
        axes.yaxis.set_minor_formatter(_as_factor)
    else:
        axes.yaxis.set_major_formatter(_as_change)
    axes.locator_params(axis="x", integer=True, nbins=_MOST_NUMBERS)
    axes.set_xlabel("trial, in the order of time")
    axes.set_ylabel("against the arm's median")


def _as_factor(value: float, _position: float) -> str:
    return f"{value:g}x"


def _as_change(value: float, _position: float) -> str:
    change = value - 1
    if abs(change) <= 1e-9:
        return "0 %"
    return f"{100 * change:+.3g} %"


def _title(run: StoredRun, points: Sequence[Point]) -> str:
    """Say whether the machine changed, where the result says so."""
    count = f"{len(run.trials)} trials"
    if len(points) > 1:
        return f"{count} of {len(points)} cases, each against its arm's median in the case"
    changes = []
    notable = []
    fewest = len(run.trials)
    for arm in run.result["arms"]:
        own = []
        for trial in run.trials:
            if trial.arm == arm:
                own.append(trial)
        fewest = min(fewest, len(own))
        change = _drift(points[0], arm)
        changes.append(change)
        if change:
            percent = f"{100 * change:+.0f} %"
            notable.append(f"the {arm} drifts by {percent}")
    if notable:
        return f"{count}: {' and '.join(notable)} from the first to the last"
    if None not in changes:
        where = " in either arm" if len(changes) > 1 else ""
        return f"{count}: no notable drift{where}"
    if fewest < MIN_SAMPLES:
        reason = f"too few to tell a drift (from {MIN_SAMPLES} an arm)"
        return f"{count} in the order of time; {reason}"
    return f"{count} in the order of time"


def _drift(point: Point, arm: str) -> float | None:
    """Return an arm's change from first to last; 0 where it is not notable, None if unknown."""
    drift = value_at(point.section, "stability", "drift", arm)
    change = number_at(drift, "change")
    p_value = number_at(drift, "p_value")
    if change is None or p_value is None:
        return None
    # By the same bounds as the warning in the result itself.
    if p_value >= NOTABLE_P or abs(change) <= NOTABLE_CHANGE:
        return 0.0
    return change
