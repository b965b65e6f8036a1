"""Whether an arm's clock is right: the seconds that it claims against those of the parent's clock.

An arm times its calls itself. The process that asks for them has a clock of its own: the calls and
the work beside them must add up to the time of the request. A busy machine delays the reply to a
request, so the worker also times the whole trial, by a clock that no arm uses; the parent's clock
tells whether that one is right. That no part of the calls hides in the work beside them, requests
without calls tell.
"""

import dataclasses
import statistics
from collections.abc import Sequence

TOLERANCE = 0.1
"""Share of a trial by which its reply may be late: on a busy machine every one is."""
MOST_APART = 0.02
"""Share of a trial by which the worker's two clocks may differ: nothing is delayed between them."""
MOST_SURPLUS = 0.01
"""Share of a trial that may be claimed beyond its time: with right clocks there is none, as every
call lies within its request."""
LATE_REPLY_S = 0.02
"""So late a reply may be noticed on a busy machine; of some trials at least one is in time."""
MOST_BESIDE = 2.0
"""So many times as long as without calls the work beside them may take: it is measured at another
moment, and takes longer when the caches of the processor hold other things."""


@dataclasses.dataclass(frozen=True)
class TimedTrial:
    """One trial by both clocks, in seconds.

    Attributes:
        claimed_s: the sum of its calls, by the arm's clock.
        beside_s: what the worker did in the trial while no call's clock ran.
        total_s: the whole trial by the worker's own clock.
        wall_s: from the request until the worker said that the calls were done, by the parent's.
    """

    claimed_s: float
    beside_s: float
    total_s: float
    wall_s: float


@dataclasses.dataclass(frozen=True)
class ClockCheck:
    """How the two clocks compare over the trials of an arm; seconds are medians, of one trial.

    Attributes:
        claimed_s: by the arm's clock.
        wall_s: by the parent's clock.
        beside_s: what the worker did while no call's clock ran.
        without_calls_s: a request for as many calls that made none, by the parent's clock.
        unexplained: the share of `wall_s` that neither the calls nor the work beside them explain;
            below 0 more was claimed than there was.
        smallest_error: the smallest error of the arm's clock that would be found here, as a share.
        smallest_worker_error: the same of an error of all of its process's clocks.
        problem: a clause with the times where the arm's clock is wrong; null where it is right.
    """

    claimed_s: float
    wall_s: float
    beside_s: float
    without_calls_s: float
    unexplained: float
    smallest_error: float
    smallest_worker_error: float
    problem: str | None


def check(trials: Sequence[TimedTrial], without_calls: Sequence[TimedTrial]) -> ClockCheck | None:
    """Compare the clocks over the trials of one arm.

    Whatever delays a reply makes the parent's time longer and never shorter. So a worker's clock
    that is too fast shows in the median trial; one that is too slow is believed to be wrong only
    where every reply came late.

    Args:
        trials: of one arm in one process, void ones left out.
        without_calls: requests for as many calls that made none: they claim nothing.

    Returns:
        The comparison; null where there is no trial or no request without calls.
    """
    if not trials or not without_calls:
        return None
    typical, typical_empty = _typical(trials), _typical(without_calls)
    wall_s = typical.wall_s
    # Of 2 trials both may be noticed late, of 20 hardly all.
    late_s = LATE_REPLY_S / len(trials)
    longest_empty_s = max(empty.wall_s for empty in without_calls)
    limits = _Limits(
        most_unexplained=TOLERANCE + late_s / wall_s,
        most_beside_s=MOST_BESIDE * longest_empty_s,
    )
    # What is left of a request without calls is its way to the worker and back.
    way_s = statistics.median(empty.wall_s - empty.total_s for empty in without_calls)
    return ClockCheck(
        claimed_s=typical.claimed_s,
        wall_s=wall_s,
        beside_s=typical.beside_s,
        without_calls_s=typical_empty.wall_s,
        unexplained=(wall_s - typical.beside_s - typical.claimed_s) / wall_s,
        smallest_error=_smallest_error(typical, MOST_APART),
        smallest_worker_error=_smallest_error(typical, limits.most_unexplained),
        problem=_problem(trials, way_s, limits),
    )


@dataclasses.dataclass(frozen=True)
class _Limits:
    """What is no error yet: a share of a trial, and seconds of work beside its calls."""

    most_unexplained: float
    most_beside_s: float


def _typical(trials: Sequence[TimedTrial]) -> TimedTrial:
    """Return a trial of the medians."""
    return TimedTrial(
        claimed_s=statistics.median(trial.claimed_s for trial in trials),
        beside_s=statistics.median(trial.beside_s for trial in trials),
        total_s=statistics.median(trial.total_s for trial in trials),
        wall_s=statistics.median(trial.wall_s for trial in trials),
    )


def _problem(trials: Sequence[TimedTrial], way_s: float, limits: _Limits) -> str | None:
    """Say what is wrong with a clock, as a clause; null where nothing is."""
    typical = _typical(trials)
    claimed, wall = _milliseconds(typical.claimed_s), _milliseconds(typical.wall_s)
    beside = _milliseconds(typical.beside_s)
    if _disagree(trials, way_s, limits):
        return (
            f"claims {claimed} of a trial that took {wall} by the parent's clock, {beside} of it "
            "beside its calls"
        )
    if _hides_work(trials, limits):
        most = _milliseconds(limits.most_beside_s)
        return (
            f"claims {claimed} of a trial that took {wall}: {beside} of work lie outside its "
            f"clock, where there should be {most} at most"
        )
    return None


def _disagree(trials: Sequence[TimedTrial], way_s: float, limits: _Limits) -> bool:
    """Return whether the calls and the work beside them do not add up to the trial."""
    apart, late = [], []
    for trial in trials:
        # 100 ms in all, 2 ms of it beside the calls, 108 ms claimed: 10 % apart.
        explained_s = trial.claimed_s + trial.beside_s
        apart.append((explained_s - trial.total_s) / trial.total_s)
        late.append((trial.wall_s - trial.total_s) / trial.wall_s)
    if abs(statistics.median(apart)) > MOST_APART:
        return True
    # With a right clock not even one trial takes the worker longer than the parent waited.
    if -statistics.median(late) > MOST_SURPLUS:
        return True
    # Of a right clock some reply is in time, and its way is as long as without calls.
    way = way_s / statistics.median(trial.wall_s for trial in trials)
    return min(late) - way > limits.most_unexplained


def _hides_work(trials: Sequence[TimedTrial], limits: _Limits) -> bool:
    """Return whether far more is done beside the calls than a request without calls does."""
    beyond = []
    for trial in trials:
        beyond_s = trial.beside_s - limits.most_beside_s
        beyond.append(beyond_s / trial.wall_s)
    return min(beyond) > limits.most_unexplained


def _smallest_error(typical: TimedTrial, limit: float) -> float:
    """Return the share by which a clock must be wrong to be noticed."""
    # An error of the clock shows in the calls alone, which are a part of the whole time.
    in_calls = (typical.wall_s - typical.beside_s) / typical.wall_s
    if in_calls <= 0:
        return 1.0
    return limit / in_calls


def _milliseconds(seconds: float) -> str:
    milliseconds = 1e3 * seconds
    return f"{milliseconds:.4g} ms"
