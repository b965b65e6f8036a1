"""Where the time of a start goes, from the process's start to the first warm call."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxgen.report.lookup import number_at, value_at
from jaxgen.report.plots import bars
from jaxgen.report.plots.bars import Bar, Parts, seconds_in_words
from jaxgen.report.plots.drawing import Drawing, LeftOut
from jaxgen.report.plots.shown_arms import ShownArm, one_point_of_each_run, shown_arms
from jaxgen.report.points import Point

_SUBJECT = "startup split"
_COMPILING = ("trace", "lower", "compile")
_FRESH_STARTS = {"cold": "empty cache folder", "warm": "filled cache folder"}


def draw(points: Sequence[Point], *, name: str) -> Drawing | LeftOut:
    """Draw a bar for each arm, and of a single run also its starts in fresh processes.

    Args:
        points: those of the report; a run with cases has one start.
        name: that of the plot's files.
    """
    alone = one_point_of_each_run(points)
    arms = shown_arms(alone)
    made = []
    for arm in arms:
        # An arm that failed before it was loaded has no start.
        startup = arm.result.get("startup")
        if startup:
            parts = _parts(startup)
            made.append(Bar(arm.label, arm.is_candidate, parts))
    # Among several runs the starts of fresh processes would be three bars for each arm.
    if len(alone) == 1:
        for arm in arms:
            made += _fresh_starts(arm)
    longest = bars.longest(made)
    if longest is None:
        return LeftOut(name, _SUBJECT, "no arm has times of its start")
    part = bars.largest_part(longest)
    share = bars.share_of(longest, part)
    total = seconds_in_words(longest.total)
    return bars.draw(
        made,
        name=name,
        subject=_SUBJECT,
        title=f"Of the longest start ({total}), {part} takes {share}",
        form=seconds_in_words,
    )


def _fresh_starts(arm: ShownArm) -> list[Bar]:
    """Return a bar for each start of a fresh process that an arm has."""
    made = []
    name = arm.label.split(" (")[0]
    for side, cache in _FRESH_STARTS.items():
        start = value_at(arm.result, "startup", side)
        if start:
            parts = _parts_of_fresh_start(start)
            made.append(Bar(f"{name}, {cache}", arm.is_candidate, parts))
    return made


def _parts(startup: Mapping[str, Any]) -> Parts:
    """Return the seconds of the parts of an arm's start."""
    parts = {}
    for part in ("import", "load", *_COMPILING):
        parts[part] = number_at(startup, f"{part}_s")
    # The first calls compile: what is left is what they took to run.
    warmup_s = number_at(startup, "warmup_s")
    parts["first calls"] = _beside_compiling(warmup_s, parts)
    return parts


def _parts_of_fresh_start(start: Mapping[str, Any]) -> Parts:
    """Return the seconds of the parts of a fresh process's start up to its first call."""
    parts = {}
    for part in ("import", "load"):
        parts[part] = number_at(start, f"{part}_s")
    for part in _COMPILING:
        parts[part] = number_at(start, "first_call", f"{part}_s")
    call_s = number_at(start, "first_call", "seconds")
    parts["first calls"] = _beside_compiling(call_s, parts)
    return parts


def _beside_compiling(calls_s: float | None, parts: Parts) -> float | None:
    """Return what calls took beside tracing, lowering and compiling; None if any is unknown."""
    if calls_s is None:
        return None
    compiling_s = 0.0
    for part in _COMPILING:
        seconds = parts[part]
        if seconds is None:
            return None
        compiling_s += seconds
    # Whole and parts are timed separately, so that the rest may come out a little below 0.
    return max(calls_s - compiling_s, 0.0)
