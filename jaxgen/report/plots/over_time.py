"""Every trial in the order of time, both arms, each against its own median: a machine that changes is seen at once."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jaxgen.measure.drift import MIN_SAMPLES, NOTABLE_CHANGE, NOTABLE_P
from jaxgen.report.plots.drawing import (
    ALERT,
    ARM_COLOURS,
    GRID,
    Drawing,
    LeftOut,
    axes_of,
    legend_above,
    shortened,
)
from jaxgen.report.points import Point, arm_name, level, number_at
from jaxgen.results.collection import StoredRun
from jaxgen.results.reading import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG_FROM = 3.0
_MOST_DOTS = 2000
_DOTS = 400
"""With more trials than the first, an arm has some 400 dots, each for many trials: more could not be told apart."""
_MOST_BORDERS = 100
_MOST_NUMBERS = 5  # of six digits each, so many stand beside each other
_LABEL_LETTERS = (
    54  # in the widest letters that names are made of, this fills the picture to its edge
)
SUBJECT = "paired trials over time"

Relative = tuple[int, Trial, float]
"""The number of a trial, and its value against its arm's median."""


def draw(run: StoredRun, points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """The trials of one run.

    Args:
        points: the run's own.
        name: the files'.
    """
    if not run.trials:
        return LeftOut(name, SUBJECT, run.no_trials or "there are no trials")
    metrics = {point.case: point.primary for point in points}
    first = next(iter(run.trials[0].metrics), None)
    chosen = [
        (trial, trial.metrics.get(metrics.get(trial.case) or first or "")) for trial in run.trials
    ]
    medians = _medians(chosen)
    known = [
        (n, t, v / medians[t.case, t.arm])
        for n, (t, v) in enumerate(chosen, 1)
        if v and (t.case, t.arm) in medians
    ]
    if not known:
        return LeftOut(name, SUBJECT, "no trial has a figure")
    labels = {arm: _label(points, arm) for arm in run.result["arms"]}
    of_arm = {arm: [each for each in known if each[1].arm == arm] for arm in labels}
    together = math.ceil(max(map(len, of_arm.values())) / _DOTS) if len(known) > _MOST_DOTS else 1
    dots = {arm: _thinned(each, together) for arm, each in of_arm.items()}
    lowest, highest = (end(relative for *_, relative in known) for end in (min, max))
    shown = [relative for each in dots.values() for *_, relative in each]

    def put(figure) -> None:
        axes = axes_of(figure)
        _borders(axes, run.trials)
        for arm, label in labels.items():
            _series(axes, dots[arm], colour=ARM_COLOURS.get(arm, GRID), label=label)
        if max(shown) > _LOG_FROM * min(shown):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(_times)
            axes.yaxis.set_minor_formatter(
                _times
            )  # within a decade it is the minor ones that are named
        else:
            axes.yaxis.set_major_formatter(_percent)
        axes.locator_params(axis="x", integer=True, nbins=_MOST_NUMBERS)
        axes.set_xlabel("trial, in the order of time")
        axes.set_ylabel("against the arm's median")
        legend_above(axes, columns=1)

    dirty = sum(map(_marked, run.trials))
    alt = f"{len(known)} trials; {'; '.join(labels.values())}; between {lowest:.2f} and {highest:.2f} of the median."
    notes = [f"Each dot is the median of {together} trials in a row."] if together > 1 else []
    notes += (
        [f"{dirty} of {len(run.trials)} trials saw a compile or were void: marked with a cross."]
        if dirty
        else []
    )
    return Drawing(name, _title(run, points), alt, put, height_in=2.7, note=" ".join(notes) or None)


def _thinned(known: Sequence[Relative], together: int) -> list[Relative]:
    """The middle one of so many in a row, by its value, and all that are to be marked; in the order of time."""
    clean, marked = ([each for each in known if _marked(each[1]) is kind] for kind in (False, True))
    groups = [
        sorted(clean[at : at + together], key=lambda each: each[2])
        for at in range(0, len(clean), together)
    ]
    return sorted(
        [*marked, *(group[len(group) // 2] for group in groups)], key=lambda each: each[0]
    )


def _marked(trial: Trial) -> bool:
    return trial.void or trial.compile_events > 0


def _times(value: float, _position: float) -> str:
    return f"{value:g}x"


def _percent(value: float, _position: float) -> str:
    return f"{100 * (value - 1):+.3g} %" if abs(value - 1) > 1e-9 else "0 %"


def _medians(chosen: Sequence[tuple[Trial, float | None]]) -> Mapping[tuple[int, str], float]:
    """Of each arm in each case; void trials do not count unless there are no others."""
    values: dict[tuple[int, str], dict[bool, list[float]]] = {}
    for trial, value in chosen:
        if value is not None and value > 0:
            values.setdefault((trial.case, trial.arm), {}).setdefault(trial.void, []).append(value)
    return {key: statistics.median(each.get(False) or each[True]) for key, each in values.items()}


def _label(points: Sequence[Point], arm: str) -> str:
    own = points[0]
    median = (
        f": median {level(own.arms[arm], own.primary)}" if len(points) == 1 and own.primary else ""
    )
    room = _LABEL_LETTERS - len(median)
    name = next(
        (each for most in (2, 1) if len(each := arm_name(own, arm, most=most)) <= room), arm
    )
    return f"{shortened(name, room)}{median}"


def _borders(axes: "Axes", trials: Sequence[Trial]) -> None:
    """A line where a block, a process or a case ends; with very many blocks, where a process ends."""
    for places in (
        [(each.case, each.process, each.block) for each in trials],
        [each.process for each in trials],
    ):
        pairs = enumerate(itertools.pairwise(places), 1)
        ends = [number for number, (one, next_one) in pairs if one != next_one]
        if len(ends) <= _MOST_BORDERS:
            break
    for number in ends:
        axes.axvline(number + 0.5, color=GRID, linewidth=0.6)


def _series(axes: "Axes", points: Sequence[Relative], *, colour: str, label: str) -> None:
    numbers, values = [number for number, *_ in points], [relative for *_, relative in points]
    axes.plot(numbers, values, color=colour, linewidth=0.7, alpha=0.5)
    axes.plot(numbers, values, "o", color=colour, markersize=3.2, markeredgewidth=0, label=label)
    dirty = [(number, value) for number, trial, value in points if _marked(trial)]
    if dirty:
        axes.plot(*zip(*dirty, strict=True), "x", color=ALERT, markersize=6, markeredgewidth=1.4)


def _title(run: StoredRun, points: Sequence[Point]) -> str:
    """Whether the machine changed, where the result says so."""
    if len(points) > 1:
        return f"{len(run.trials)} trials of {len(points)} cases, each against its arm's median in the case"
    drifts = {arm: _drift(points[0], arm) for arm in run.result["arms"]}
    notable = [
        f"the {arm} drifts by {100 * change:+.0f} %" for arm, change in drifts.items() if change
    ]
    if notable:
        return f"{len(run.trials)} trials: {' and '.join(notable)} from the first to the last"
    if None in drifts.values():
        fewest = min(sum(trial.arm == arm for trial in run.trials) for arm in drifts)
        few = (
            f"; too few to tell a drift (from {MIN_SAMPLES} an arm)" if fewest < MIN_SAMPLES else ""
        )
        return f"{len(run.trials)} trials in the order of time{few}"
    return (
        f"{len(run.trials)} trials: no notable drift{' in either arm' if len(drifts) > 1 else ''}"
    )


def _drift(point: Point, arm: str) -> float | None:
    """The change of an arm from first to last; 0 where it is not notable, None where it is not known."""
    change, p = (
        number_at(point.block, "stability", "drift", arm, key) for key in ("change", "p_value")
    )
    if change is None or p is None:
        return None
    return change if p < NOTABLE_P and abs(change) > NOTABLE_CHANGE else 0.0
