"""The schedule of the trials: who goes first, who measures how much, how often a call is repeated.

The experiment asks for a plan before each block; `stopping` says after it whether it was the last.
"""

import dataclasses
import math
import random
from collections.abc import Mapping

from jaxgen.specs.measure import Measure

ARMS = ("candidate", "baseline")

MIN_BLOCKS_IN_TIME = 4
"""So many are measured however long they take: two blocks can agree by luck, and their spread has
one degree of freedom."""

Order = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class BlockPlan:
    """One block.

    Attributes:
        placement: the arms in the order in which they are placed in memory.
        pairs: the arms in the order of the trials, for each pair.
    """

    placement: Order
    pairs: tuple[Order, ...]


def block_plan(block: int, *, pairs: int, seed: int) -> BlockPlan:
    """Plan one block of A B B A ..., so that neither arm gains from its place or from a drift.

    The placement alternates from block to block, since the arm that is placed first can be slower
    by a steady 1.5 %. Inside a block the first arm of a pair alternates. The arm that opens a block
    goes 0 1 1 0 0 1 1 0 ... over the blocks: with an odd number of pairs, then, each arm leads in
    half the pairs of any even number of blocks, and within four blocks each arm opens as often
    after being placed first as after being placed second. Which arm begins either cycle is the
    seed's draw, and the same for all blocks.

    Args:
        block: its number in the run, from 0. With several processes it goes on counting, or the
            cycles begin anew.
        pairs: in this block.
        seed: `measure.seed`.

    Example:
        >>> block_plan(0, pairs=4, seed=0).pairs == tuple(block_plan(0, pairs=2, seed=0).pairs * 2)
        True
    """
    start = random.Random(seed)
    first_of_placement = start.getrandbits(1)
    first_of_blocks = start.getrandbits(1)
    placed_first = block + first_of_placement
    opens = block + block // 2 + first_of_blocks
    orders = []
    for pair in range(pairs):
        orders.append(_order(opens + pair))
    return BlockPlan(placement=_order(placed_first), pairs=tuple(orders))


@dataclasses.dataclass(frozen=True)
class Share:
    """What one pair of processes measures of a run.

    Attributes:
        blocks: the most there may be.
        seconds: after which no new block begins.
        processes: how many pairs of processes the run has.
        may_be_last: whether the run ends with this one if it settles the question.
    """

    blocks: int
    seconds: float
    processes: int
    may_be_last: bool = False

    def least_blocks(self, total: int) -> int:
        """Return this share of so many blocks of the run: even, and no more than there may be."""
        twos = math.ceil(total / (2 * self.processes))
        return min(2 * twos, self.blocks)


def share_of(plan: Measure, process: int) -> Share:
    """Return the share of one pair of processes: an even number of blocks where there are enough.

    Args:
        plan: of the run.
        process: the number of the pair, from 0.

    Example:
        >>> [share_of(Measure(blocks=9, processes=2), process).blocks for process in (0, 1)]
        [4, 5]
    """
    count = plan.num_processes
    seconds = plan.max_seconds / count
    # Who is placed first alternates, so that blocks are dealt out in twos; one that is left over
    # goes to the last.
    unit = 2 if plan.blocks >= 2 * count else 1
    units, left_over = divmod(plan.blocks, unit)
    own = range(process, units, count)
    blocks = unit * len(own)
    if process == count - 1:
        blocks += left_over
    may_be_last = plan.may_end_early and process == 0
    return Share(blocks, seconds, count, may_be_last=may_be_last)


def whole(plan: Measure) -> Share:
    """Return the share of a pair of processes that measures everything by itself."""
    return Share(plan.blocks, plan.max_seconds, 1)


def repeats(
    call_s: Mapping[str, float], *, min_trial_s: float, max_seconds: float, min_pairs: int
) -> dict[str, int]:
    """Return how often a trial of each arm makes its call, so that trials are about equally long.

    A ratio is one of times a call, so that the counts need not be equal: with equal ones the slower
    arm would take most of the run. Each is as often as a trial of `min_trial_s` needs, but no
    oftener than lets `min_pairs` pairs fit into `max_seconds`, and at least once: an arm that
    compiles at each call must not take up the whole run.

    Args:
        call_s: one call of each arm, in seconds, as the warm-up saw it.
        min_trial_s: `measure.min_trial_s`, seconds.
        max_seconds: what all trials together may take.
        min_pairs: the pairs that the trials must at least hold.

    Example:
        >>> repeats({"a": 0.01, "b": 0.04}, min_trial_s=0.1, max_seconds=60.0, min_pairs=12)
        {'a': 10, 'b': 3}
    """
    counts = {}
    trial_s = max_seconds / (min_pairs * len(call_s))
    for arm, seconds in call_s.items():
        if not 0 < seconds < math.inf:
            raise ValueError(f"a call takes a positive, finite time: {arm} took {seconds}")
        wanted = math.ceil(min_trial_s / seconds)
        # With 10 s for 12 pairs a trial has 0.4 s: calls of 0.1 s leave 4 of them at most.
        affordable = math.floor(trial_s / seconds)
        counts[arm] = max(1, min(wanted, affordable))
    return counts


def _order(first: int) -> Order:
    """Return the arms' order; the first one's number is taken modulo 2."""
    candidate, baseline = ARMS
    if first % 2 == 0:
        return (candidate, baseline)
    return (baseline, candidate)
