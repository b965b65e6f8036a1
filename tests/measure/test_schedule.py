"""The balance of the schedule over whole runs, the repeats of a call, and the reasons to stop."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from jaxgen.measure.schedule import block_plan, enough, repeats
from jaxgen.measure.statistics import compare_pairs, relative_half_width
from support.simulated_pairs import make_pairs, noise

SEEDS = range(20)


def leaders(blocks, pairs, seed):
    """The arm that goes first, pair by pair over a run."""
    return [
        order[0]
        for block in range(blocks)
        for order in block_plan(block, pairs=pairs, seed=seed).pairs
    ]


def stop(half_width, **changed):
    state = {
        "blocks_done": 6,
        "blocks": 10,
        "elapsed_s": 5.0,
        "max_seconds": 60.0,
        "target_ci": 0.02,
    }
    return enough(half_width, **(state | changed))


def test_trials_run_a_b_b_a():
    (a, b), second, third, fourth = block_plan(0, pairs=4, seed=0).pairs
    assert {a, b} == {"candidate", "baseline"}
    assert (second, third, fourth) == ((b, a), (a, b), (b, a))


@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("blocks", [2, 4, 6, 10])
def test_each_arm_leads_half_the_pairs_of_a_run(blocks, pairs):
    for seed in SEEDS:
        assert set(Counter(leaders(blocks, pairs, seed)).values()) == {blocks * pairs // 2}


def test_placement_alternates_by_block():
    for seed in SEEDS:
        first = [block_plan(block, pairs=4, seed=seed).placement[0] for block in range(6)]
        assert all(one != other for one, other in itertools.pairwise(first))


def test_leading_a_block_is_not_tied_to_being_placed_first():
    for seed in SEEDS:
        plans = [block_plan(block, pairs=3, seed=seed) for block in range(4)]
        assert len({(plan.placement, plan.pairs[0]) for plan in plans}) == 4


def test_the_seed_draws_both_starts():
    plans = [block_plan(0, pairs=1, seed=seed) for seed in SEEDS]
    assert len({(plan.placement, plan.pairs) for plan in plans}) == 4


def test_a_plan_repeats_with_its_seed():
    assert block_plan(5, pairs=4, seed=3) == block_plan(5, pairs=4, seed=3)


def test_a_short_call_repeats_until_the_trial_is_long_enough():
    assert repeats(0.03, 0.05, min_trial_s=0.2, max_seconds=60, min_pairs=12) == 7


def test_a_long_call_is_made_once():
    assert repeats(0.5, 0.6, min_trial_s=0.2, max_seconds=60, min_pairs=12) == 1


def test_a_slow_arm_bounds_the_repeats_of_the_fast_one():
    count = repeats(0.01, 0.99, min_trial_s=0.2, max_seconds=60, min_pairs=12)
    assert count == 5
    assert count * (0.01 + 0.99) * 12 <= 60


def test_a_call_too_slow_for_the_budget_is_still_made_once():
    assert repeats(0.01, 30.0, min_trial_s=0.2, max_seconds=60, min_pairs=12) == 1


def test_repeats_do_not_depend_on_the_order_of_the_arms():
    limits = {"min_trial_s": 0.2, "max_seconds": 60, "min_pairs": 12}
    assert repeats(0.03, 0.05, **limits) == repeats(0.05, 0.03, **limits)


@pytest.mark.parametrize("time_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_call_that_takes_no_time_is_refused(time_s):
    with pytest.raises(ValueError, match="positive"):
        repeats(time_s, 1.0, min_trial_s=0.2, max_seconds=60, min_pairs=12)


def test_trials_go_on_while_the_interval_is_wide():
    assert stop(0.03) is None


def test_a_narrow_interval_ends_the_trials():
    assert stop(0.01) == "target_ci reached"


@pytest.mark.parametrize(("done", "reason"), [(4, None), (5, "target_ci reached")])
def test_a_narrow_interval_needs_five_blocks(done, reason):
    assert stop(0.001, blocks_done=done) == reason


def test_the_blocks_limit_ends_the_trials_without_an_interval():
    assert stop(None, blocks_done=1, blocks=1) == "blocks limit"


def test_the_time_limit_waits_for_three_blocks():
    assert stop(0.03, blocks_done=2, elapsed_s=60.0) is None
    assert stop(0.03, blocks_done=3, elapsed_s=60.0) == "max_seconds limit"


def test_a_narrow_interval_is_not_what_ends_slow_pairs_after_three_blocks():
    assert stop(0.001, blocks_done=3, elapsed_s=60.0) == "max_seconds limit"


@pytest.mark.parametrize("blocks", [1, 3, 4])
def test_a_plan_of_fewer_than_five_blocks_ends_at_its_limit(blocks):
    assert stop(0.001, blocks_done=blocks, blocks=blocks) == "blocks limit"


def test_who_stops_at_a_narrow_interval_still_holds_the_truth_in_95_percent_of_the_runs():
    runs, held, rng = 300, 0, np.random.default_rng(3)
    for seed in range(runs):
        drawn = noise(rng, 12)
        for done in range(5, 13):
            pairs = make_pairs(drawn[:done])
            if stop(relative_half_width(pairs, better="higher"), blocks_done=done, blocks=12):
                break
        low, high = compare_pairs(pairs, better="higher", seed=seed)["ci95"]
        held += low <= 1 <= high
    assert abs(held / runs - 0.95) < 3 * math.sqrt(0.95 * 0.05 / runs)


def test_the_limits_hold_with_nothing_to_compare():
    assert stop(None) is None
    assert stop(None, elapsed_s=61.0) == "max_seconds limit"
