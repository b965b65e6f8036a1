"""When the trials end: the question is settled, the interval narrow, or a limit reached."""

import math
from typing import Any

import numpy as np

from jaxgen.measure.interval import Centres, log_half_width, predicted_half_width
from jaxgen.measure.schedule import MIN_BLOCKS_IN_TIME, Share
from jaxgen.measure.start_spread import StartSpread
from jaxgen.specs.measure import MIN_PAIRS_TO_DECIDE, Measure

MIN_BLOCKS_TO_DECIDE = 6
"""The same of blocks, however many pairs they hold."""
SETTLED = "the question is settled"
SETTLED_TAIL = 0.001
"""The share of intervals that miss on either side where a clear answer ends the trials: 99.8 % hold
the truth. Asked after every second block it costs the final 95 % nothing that can be seen (Peto et
al., "Design and Analysis of Randomized Clinical Trials Requiring Prolonged Observation of Each
Patient", British Journal of Cancer 34, 1976); asked at 95 % it would."""


def enough(
    centres: Centres | None,
    start: StartSpread,
    *,
    plan: Measure,
    share: Share,
    blocks_done: int,
    pairs: int,
    elapsed_s: float,
) -> str | None:
    """Say after a block why the trials of a pair of processes may end, or None where they go on.

    The interval of all processes decides, and what the remaining ones will add to it is allowed
    for: with each of them narrow by itself a run would be measured several times over.

    Args:
        centres: of all pairs of processes until now, the last of which is this one; None where
            there is no interval yet.
        start: how far equal arms differ from start to start.
        plan: of the run.
        share: of this pair of processes.
        blocks_done: by it.
        pairs: in a block.
        elapsed_s: since its first trial, in seconds.

    Returns:
        "the question is settled", "target_ci reached", "max_seconds limit", "blocks limit" or None.
    """
    if centres is not None and may_decide(share, blocks_done=blocks_done, pairs=pairs):
        margin, target = plan.least_difference, plan.wanted_half_width
        if plan.stops_when_settled and is_settled(centres, start, margin):
            # A run that ends here has the pairs of a whole run, and its seconds too.
            has_time = elapsed_s < plan.max_seconds and blocks_done < share.blocks
            is_short = share.may_be_last and blocks_done * pairs < MIN_PAIRS_TO_DECIDE
            return None if is_short and has_time else SETTLED
        if is_narrow(centres, start, target, processes=share.processes):
            return "target_ci reached"
    # The limits of blocks and time hold where there is no interval, as with one arm alone.
    return limit(share, blocks_done=blocks_done, elapsed_s=elapsed_s)


def may_decide(share: Share, *, blocks_done: int, pairs: int) -> bool:
    """Whether so many blocks of so many pairs are enough for what they say to end the trials."""
    of_pairs = MIN_PAIRS_TO_DECIDE // pairs
    least = share.least_blocks(max(MIN_BLOCKS_TO_DECIDE, of_pairs))
    return blocks_done >= least and _is_balanced(blocks_done)


def limit(share: Share, *, blocks_done: int, elapsed_s: float) -> str | None:
    """Return which limit of a pair of processes is reached, if any."""
    if blocks_done >= share.blocks:
        return "blocks limit"
    out_of_time = elapsed_s >= share.seconds
    least = share.least_blocks(MIN_BLOCKS_IN_TIME)
    if out_of_time and blocks_done >= least and _is_balanced(blocks_done):
        return "max_seconds limit"
    return None


def _is_balanced(blocks_done: int) -> bool:
    """Whether each arm was placed first as often as the other: else one would have its favour."""
    return blocks_done % 2 == 0


def is_settled(centres: Centres, start: StartSpread, margin: float) -> Any:
    """Whether the 99.8 % interval lies wholly beyond the margin or within it, for each run."""
    half_width = log_half_width(centres, start, tail=SETTLED_TAIL)
    distance = abs(centres.centre)
    edge = math.log1p(margin)
    is_beyond = distance - half_width > edge
    is_within = distance + half_width <= edge
    return is_beyond | is_within


def is_narrow(centres: Centres, start: StartSpread, target: float, *, processes: int) -> Any:
    """Whether the interval at the end of the run will be as narrow as wanted, for each run.

    Args:
        centres: of the pairs of processes until now.
        start: how far equal arms differ from start to start.
        target: the wanted half-width, as a share of the ratio.
        processes: that the run has.
    """
    # The ends are exp(centre +- h): half their distance is sinh(h) of the ratio.
    half_width = predicted_half_width(centres, start, processes=processes)
    return np.sinh(half_width) <= target
