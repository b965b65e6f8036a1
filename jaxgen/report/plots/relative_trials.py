"""Trials as shares of their arm's median, few enough to be drawn."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence

from jaxgen.results.collection import StoredRun
from jaxgen.results.reading import Trial

_MOST_DOTS = 2000
_DOTS = 400
"""With more trials than the first, an arm has some 400 dots: more could not be told apart."""
_MOST_BORDERS = 100

Series = tuple[int, str]
"""The number of a case, and the name of an arm."""

Chosen = tuple[int, Trial, float]
"""The number of a trial in the order of time, the trial, and its value of the metric."""


@dataclasses.dataclass(frozen=True)
class RelativeTrial:
    """A trial that is drawn.

    Attributes:
        number: from 1, in the order of time.
        value: the metric as a share of its median over the arm's trials in the same case.
        is_marked: whether it compiled something or is void.
    """

    number: int
    arm: str
    value: float
    is_marked: bool


def relative_trials(
    run: StoredRun, primary_of_case: Mapping[int, str | None]
) -> list[RelativeTrial]:
    """Return the trials of a run that have a figure.

    Args:
        run: one with trials.
        primary_of_case: the metric of each case's verdict; without one, the first metric of the
            first trial takes its place.
    """
    first_metric = next(iter(run.trials[0].metrics), "")
    chosen: list[Chosen] = []
    for number, trial in enumerate(run.trials, 1):
        metric = primary_of_case.get(trial.case) or first_metric
        value = trial.metrics.get(metric)
        # A metric that a trial could not give is an empty cell.
        if value:
            chosen.append((number, trial, value))
    medians = _medians(chosen)
    relative = []
    for number, trial, value in chosen:
        median = medians.get((trial.case, trial.arm))
        if median is None:
            continue
        shown = RelativeTrial(
            number=number,
            arm=trial.arm,
            # Both arms at 1, whatever their speed: what is looked for is a change over time.
            value=value / median,
            is_marked=is_marked(trial),
        )
        relative.append(shown)
    return relative


def is_marked(trial: Trial) -> bool:
    """Whether a trial compiled something or is void."""
    if trial.void:
        return True
    return trial.compile_events > 0


def trials_a_dot(arms: Collection[Sequence[RelativeTrial]]) -> int:
    """Return how many trials in a row one dot stands for.

    Args:
        arms: the trials of each arm.
    """
    counts = [len(trials) for trials in arms]
    if sum(counts) <= _MOST_DOTS:
        return 1
    # 3,000 trials an arm: 8 trials a dot, 375 dots.
    return math.ceil(max(counts) / _DOTS)


def thinned(trials: Sequence[RelativeTrial], together: int) -> list[RelativeTrial]:
    """Return the median trial of so many in a row, and every marked one, in the order of time."""
    clean: list[RelativeTrial] = []
    dots: list[RelativeTrial] = []
    for trial in trials:
        # A trial that compiled is the very thing that a reader looks for, and is never left out.
        if trial.is_marked:
            dots.append(trial)
        else:
            clean.append(trial)
    for start in range(0, len(clean), together):
        # The median is a trial that was measured, where a mean would be none.
        group = clean[start : start + together]
        group.sort(key=lambda trial: trial.value)
        middle = len(group) // 2
        dots.append(group[middle])
    dots.sort(key=lambda trial: trial.number)
    return dots


def borders(trials: Sequence[Trial]) -> list[int]:
    """Return the numbers of the trials that end a block, a process or a case.

    With very many blocks, only those that end a process: else the lines would hide the dots.
    """
    blocks = [(trial.case, trial.process, trial.block) for trial in trials]
    ends = _ends_of_runs(blocks)
    if len(ends) <= _MOST_BORDERS:
        return ends
    processes = [trial.process for trial in trials]
    return _ends_of_runs(processes)


def _ends_of_runs(values: Sequence[object]) -> list[int]:
    """Return the numbers, from 1, after which another value follows: [2] for a, a, b."""
    ends = []
    for number, (value, following) in enumerate(itertools.pairwise(values), 1):
        if value != following:
            ends.append(number)
    return ends


def _medians(chosen: Sequence[Chosen]) -> dict[Series, float]:
    """Return the median of each arm in each case; void trials count where there are no others."""
    clean: dict[Series, list[float]] = {}
    void: dict[Series, list[float]] = {}
    for _, trial, value in chosen:
        if value <= 0:
            continue
        values_of = void if trial.void else clean
        key = (trial.case, trial.arm)
        values = values_of.setdefault(key, [])
        values.append(value)
    medians = {}
    # Clean trials come last and so replace the void ones.
    for values_of in (void, clean):
        for key, values in values_of.items():
            medians[key] = statistics.median(values)
    return medians
