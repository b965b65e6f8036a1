"""The schedule of the trials: which arm goes first, how often a trial repeats its call, when to
stop.

The experiment asks for a plan before each block, and after it whether the interval is narrow enough
to end the run.
"""

import dataclasses
import math
import random

ARMS = ("candidate", "baseline")

MIN_BLOCKS_FOR_TARGET = 5
"""Before so many blocks a narrow interval ends nothing: a run that stops at the first narrow
interval favours blocks that agree by luck. Of 2000 simulated A/A runs under the default limits,
without that of time, the interval at the end holds the truth in 95 % if blocks differ by 1.7 % and
pairs by 2 %, and in 93 % if blocks differ by 3 %; with 8 blocks in 95 and 94 %, as with all 12
always. Under the self-test's plan, where pairs differ by 15 %, it is 95 %."""
MIN_BLOCKS_IN_TIME = 3
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
    first_of_placement, first_of_blocks = start.getrandbits(1), start.getrandbits(1)
    placed_first = block + first_of_placement
    opens = block + block // 2 + first_of_blocks
    orders = []
    for pair in range(pairs):
        orders.append(_order(opens + pair))
    return BlockPlan(placement=_order(placed_first), pairs=tuple(orders))


def repeats(
    fast_s: float, slow_s: float, *, min_trial_s: float, max_seconds: float, min_pairs: int
) -> int:
    """Return how often a trial makes its call: equal in both arms, so that a pair is a fair ratio.

    It is as often as the faster arm needs for a trial of `min_trial_s`, but no oftener than lets
    `min_pairs` pairs fit into `max_seconds`, and at least once: an arm that compiles at each call
    must not take up the whole run.

    Args:
        fast_s: one call of the faster arm, in seconds, as the warm-up saw it.
        slow_s: one call of the slower arm, in seconds.
        min_trial_s: `measure.min_trial_s`, seconds.
        max_seconds: `measure.max_seconds`, what all trials together may take.
        min_pairs: the pairs that the run must at least hold.
    """
    for call_s in (fast_s, slow_s):
        if not 0 < call_s < math.inf:
            raise ValueError(f"a call takes a positive, finite time: {fast_s=}, {slow_s=}")
    # The faster arm decides: a clock's resolution matters most to it.
    shortest_s = min(fast_s, slow_s)
    pair_s = fast_s + slow_s
    wanted = math.ceil(min_trial_s / shortest_s)
    # Calls of 0.1 and 0.4 s, 6 pairs and 10 s leave 3 calls in a trial at most.
    affordable = math.floor(max_seconds / (min_pairs * pair_s))
    return max(1, min(wanted, affordable))


def enough(
    half_width: float | None,
    *,
    blocks_done: int,
    blocks: int,
    elapsed_s: float,
    max_seconds: float,
    target_ci: float,
) -> str | None:
    """Say after a block why the trials may end, or None where they go on.

    Args:
        half_width: of the interval, as a share of the ratio; None where there is no interval yet.
        blocks_done: so far, over all processes.
        blocks: `measure.blocks`, the most there may be. It may be 1: the interval is then unknown.
        elapsed_s: since the first trial, in seconds.
        max_seconds: `measure.max_seconds`.
        target_ci: `measure.target_ci`, the wanted half-width (0.02 = 2 %).

    Returns:
        "target_ci reached" (not before `MIN_BLOCKS_FOR_TARGET`), "max_seconds limit" (not before
        `MIN_BLOCKS_IN_TIME`, so that slow pairs are not made to go on for the former's sake),
        "blocks limit", or None.
    """
    # The limits of blocks and time hold where there is no interval, as with one arm alone.
    is_narrow = half_width is not None and half_width <= target_ci
    if is_narrow and blocks_done >= MIN_BLOCKS_FOR_TARGET:
        return "target_ci reached"
    if blocks_done >= blocks:
        return "blocks limit"
    out_of_time = elapsed_s >= max_seconds and blocks_done >= MIN_BLOCKS_IN_TIME
    return "max_seconds limit" if out_of_time else None


def _order(first: int) -> Order:
    """Return the arms' order; the first one's number is taken modulo 2."""
    candidate, baseline = ARMS
    if first % 2 == 0:
        return (candidate, baseline)
    return (baseline, candidate)
