"""Thousands of runs at once on a simulated machine whose truth is known.

The shares of the processes, the reasons to stop and the interval are the real ones; only the trials
and the clock are made up. Their noise is that of a 2-core CPU as it was measured, and a little
worse.
"""

import dataclasses
import math

import numpy as np

from jaxgen.measure import schedule, stopping
from jaxgen.measure.interval import Centres, log_half_width, pooled
from jaxgen.measure.start_spread import StartSpread
from jaxgen.measure.verdict import place_of
from jaxgen.specs.measure import Measure

SPIKE, SPIKES = math.log(1.3), 0.01
"""One trial in a hundred takes 30 % longer."""
CALIBRATED, KNOWN_TO = 8, 0.004
"""Pairs of processes of a calibration, and how well it knows the mean of each."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """Standard deviations of the log ratio, as shares.

    Attributes:
        block: of a block of one pair.
        process: of a pair of processes.
        first: how much slower the arm is that starts first.
        placed: how much slower the arm is that is placed first.
        pair_s: what a pair of trials takes, in seconds.
    """

    block: float = 0.033
    process: float = 0.0
    first: float = 0.0
    placed: float = 0.015
    pair_s: float = 0.25


@dataclasses.dataclass(frozen=True)
class Runs:
    """What many runs came to; the arrays have one number for each.

    Attributes:
        centres: the mean log ratios.
        half_widths: of their 95 % intervals.
        blocks: measured in all.
        truth: the true log ratio.
    """

    centres: np.ndarray
    half_widths: np.ndarray
    blocks: np.ndarray
    truth: float

    @property
    def coverage(self) -> float:
        """The share of intervals that hold the truth."""
        return float((abs(self.centres - self.truth) <= self.half_widths).mean())

    def verdicts(self, margin: float) -> dict[str, float]:
        """Return the share of each verdict."""
        counts = dict.fromkeys(("faster", "slower", "equivalent", "inconclusive"), 0)
        for centre, half_width in zip(self.centres, self.half_widths, strict=True):
            ends = [math.exp(centre - half_width), math.exp(centre + half_width)]
            counts[place_of(ends, margin)] += 1
        return {word: count / self.centres.size for word, count in counts.items()}


def calibrated(rng: np.random.Generator, noise: Noise, runs: int) -> StartSpread:
    """Return what each run's own calibration found of starts: equal arms, starting in turn."""
    signs = np.resize([1.0, -1.0], CALIBRATED)
    spread = math.hypot(noise.process, KNOWN_TO)
    means = signs * noise.first + rng.normal(0, spread, (runs, CALIBRATED))
    return StartSpread(means.std(axis=1, ddof=1), CALIBRATED - 1, "simulated")  # type: ignore


def simulate(
    plan: Measure,
    noise: Noise,
    *,
    runs: int,
    seed: int,
    truth: float = 0.0,
    start: StartSpread | None = None,
    exact: bool = False,
) -> Runs:
    """Measure many runs.

    Args:
        plan: of all of them; blocks of one pair.
        noise: of the machine.
        runs: how many.
        seed: of the draws.
        truth: the true log ratio.
        start: what all of them know of starts; null calibrates each by itself.
        exact: whether starts are known to be all alike.
    """
    rng = np.random.default_rng(seed)
    if exact:
        start = StartSpread(0.0, 100, "exact")
    start = start or calibrated(rng, noise, runs)
    # The seed of a run draws who starts first; the pairs of processes after it take turns.
    leads = np.where(rng.random(runs) < 0.5, 1.0, -1.0)
    means, squares, counts = [], np.zeros(runs), []
    first_block = 0
    alone = None
    for process in range(plan.num_processes):
        favour = leads * (-1) ** process * noise.first
        level = truth + favour + rng.normal(0, noise.process, runs)
        own = _Process(level, noise, rng, first_block)
        share = schedule.share_of(plan, process)
        own.measure(plan, share, start, earlier=(means, squares, counts))
        means.append(own.means)
        counts.append(own.counts)
        squares = squares + own.squares
        first_block += share.blocks
        if process == 0:
            alone = _centres(means, squares, counts)
    centres = _centres(means, squares, counts)
    half_widths = log_half_width(centres, start)
    middles, blocks = centres.centre, sum(counts)
    if plan.may_end_early:
        # Those that the first pair of processes settled had no other.
        settled = stopping.is_settled(alone, start, plan.least_difference)
        middles = np.where(settled, alone.centre, middles)
        half_widths = np.where(settled, log_half_width(alone, start), half_widths)
        blocks = np.where(settled, counts[0], blocks)
    return Runs(middles, half_widths, blocks, truth)


class _Process:
    """One pair of processes of every run: running means and sums of squares of its blocks."""

    def __init__(self, level, noise, rng, first_block):
        self.level, self.noise, self.rng, self.first_block = level, noise, rng, first_block
        self.means = np.zeros(level.size)
        self.squares = np.zeros(level.size)
        self.counts = np.zeros(level.size, dtype=int)

    def measure(self, plan, share, start, *, earlier):
        going_on = np.ones(self.level.size, dtype=bool)
        for done in range(1, share.blocks + 1):
            self._add(self.first_block + done - 1, going_on)
            if stopping.limit(share, blocks_done=done, elapsed_s=done * self.noise.pair_s):
                break
            if stopping.may_decide(share, blocks_done=done, pairs=plan.trials):
                means, squares, counts = earlier
                centres = _centres(
                    [*means, self.means], squares + self.squares, [*counts, self.counts]
                )
                going_on &= ~_ends(centres, start, plan, share, done=done)

    def _add(self, block, going_on):
        """Add a block to the runs that go on (Welford's update)."""
        planned = schedule.block_plan(block, pairs=1, seed=0)
        placed = -self.noise.placed if planned.placement[0] == "candidate" else self.noise.placed
        size = self.level.size
        spikes = (self.rng.random((2, size)) < SPIKES) * SPIKE
        drawn = self.level + placed + self.rng.normal(0, self.noise.block, size)
        drawn += spikes[0] - spikes[1]
        self.counts[going_on] += 1
        step = np.where(going_on, drawn - self.means, 0.0)
        self.means += step / self.counts
        self.squares += step * np.where(going_on, drawn - self.means, 0.0)


def _ends(centres, start, plan, share, *, done):
    ends = stopping.is_narrow(centres, start, plan.wanted_half_width, processes=share.processes)
    if plan.stops_when_settled:
        settled = stopping.is_settled(centres, start, plan.least_difference)
        if share.may_be_last and done < stopping.MIN_PAIRS_TO_DECIDE:
            return ends & ~settled
        ends = ends | settled
    return ends


def _centres(means, squares, counts) -> Centres:
    return pooled(np.stack(means, axis=-1), squares, np.stack(counts, axis=-1))
