"""The balance of the schedule over whole runs, the shares of processes, the repeats of a call."""

import itertools
from collections import Counter

import pytest

from jaxgen.measure.schedule import block_plan, repeats, share_of, whole
from jaxgen.specs.measure import Measure

SEEDS = range(20)


def leaders(blocks, pairs, seed):
    """The arm that goes first, pair by pair over a run."""
    return [
        order[0]
        for block in range(blocks)
        for order in block_plan(block, pairs=pairs, seed=seed).pairs
    ]


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


@pytest.mark.parametrize(
    ("blocks", "processes", "expected"),
    [
        (48, 2, [24, 24]),
        (150, 6, [26, 26, 26, 24, 24, 24]),
        (48, 1, [48]),
        (9, 2, [4, 5]),
        (10, 4, [4, 2, 2, 2]),
        (5, 3, [2, 2, 1]),
        (3, 2, [2, 1]),
        (3, 6, [1, 1, 1]),
        (1, 2, [1]),
    ],
)
def test_blocks_are_shared_out_in_twos_and_none_is_lost(blocks, processes, expected):
    plan = Measure(blocks=blocks, processes=processes)
    shares = [share_of(plan, process) for process in range(plan.num_processes)]
    assert [share.blocks for share in shares] == expected
    assert sum(expected) == blocks


def test_seconds_are_shared_out_alike():
    plan = Measure(processes=3, max_seconds=12.0)
    assert {share_of(plan, process).seconds for process in range(3)} == {4.0}
    assert (whole(plan).seconds, whole(plan).blocks, whole(plan).processes) == (12.0, 48, 1)


@pytest.mark.parametrize(
    ("processes", "total", "least"), [(1, 12, 12), (2, 12, 6), (6, 12, 2), (5, 12, 4), (2, 4, 2)]
)
def test_the_least_number_of_blocks_is_shared_out_too(processes, total, least):
    assert share_of(Measure(blocks=60, processes=processes), 0).least_blocks(total) == least


def test_a_share_asks_for_no_more_blocks_than_it_has():
    assert share_of(Measure(blocks=3, processes=1), 0).least_blocks(12) == 3


LIMITS = {"min_trial_s": 0.2, "max_seconds": 60, "min_pairs": 12}


def test_each_arm_repeats_until_its_trial_is_long_enough():
    assert repeats({"a": 0.03, "b": 0.05}, **LIMITS) == {"a": 7, "b": 4}


def test_a_long_call_is_made_once():
    assert repeats({"a": 0.5, "b": 0.01}, **LIMITS) == {"a": 1, "b": 20}


def test_the_seconds_of_the_run_bound_the_repeats():
    counts = repeats({"a": 0.01, "b": 0.4}, min_trial_s=100.0, max_seconds=60, min_pairs=12)
    assert counts == {"a": 250, "b": 6}
    assert 12 * (250 * 0.01 + 6 * 0.4) <= 60


def test_a_call_too_slow_for_the_budget_is_still_made_once():
    assert repeats({"a": 0.01, "b": 30.0}, **LIMITS)["b"] == 1


def test_without_a_least_time_a_trial_is_one_call():
    assert repeats({"a": 0.01, "b": 0.1}, **(LIMITS | {"min_trial_s": 0.0})) == {"a": 1, "b": 1}


@pytest.mark.parametrize("time_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_call_that_takes_no_time_is_refused(time_s):
    with pytest.raises(ValueError, match="positive"):
        repeats({"a": time_s, "b": 1.0}, **LIMITS)
