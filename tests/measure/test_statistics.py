"""Summaries against numbers worked out by hand; intervals against a simulated machine."""

import json
import math
import time

import numpy as np
import pytest

from jaxgen.measure.statistics import Pair, compare_pairs, relative_half_width, summarise
from support.simulated_pairs import BLOCK_SD, make_pairs, noise


def test_summary_has_the_keys_of_the_result_in_order():
    keys = [
        "unit",
        "better",
        "samples",
        "n",
        "mean",
        "std",
        "median",
        "min",
        "max",
        "p50",
        "p90",
        "p95",
        "p99",
    ]
    assert list(summarise([1.0, 2.0], unit="s", better="lower")) == keys


def test_summary_of_known_samples():
    summary = summarise([4.0, 1.0, 2.0, 3.0, 10.0], unit="s", better="lower")
    assert summary["samples"] == [4.0, 1.0, 2.0, 3.0, 10.0]
    assert (summary["n"], summary["mean"], summary["median"], summary["min"], summary["max"]) == (
        5,
        4.0,
        3.0,
        1.0,
        10.0,
    )
    assert summary["std"] == pytest.approx(math.sqrt(50 / 4))


def test_percentiles_interpolate_between_the_two_nearest_samples():
    summary = summarise([10.0, 20.0, 30.0, 40.0], unit="s", better="lower")
    assert summary["p50"] == pytest.approx(25.0)
    assert summary["p90"] == pytest.approx(37.0)  # position 3 x 0.9 = 2.7, counted from 0
    assert summary["p95"] == pytest.approx(38.5)


@pytest.mark.parametrize(("n", "known"), [(99, False), (100, True)])
def test_p99_needs_a_hundred_samples(n, known):
    assert (
        summarise([float(i) for i in range(n)], unit="s", better="lower")["p99"] is not None
    ) == known


def test_std_of_one_sample_is_null_not_zero():
    assert summarise([3.0], unit="s", better="lower")["std"] is None


def test_missing_samples_stay_listed_but_do_not_count():
    summary = summarise([1.0, None, 3.0], unit="s", better="lower")
    assert (summary["samples"], summary["n"], summary["mean"]) == ([1.0, None, 3.0], 2, 2.0)


@pytest.mark.parametrize("samples", [[], [None, None]])
def test_summary_of_nothing_is_all_null(samples):
    summary = summarise(samples, unit="s", better="lower")
    assert summary["n"] == 0
    assert all(
        summary[key] is None
        for key in ["mean", "std", "median", "min", "max", "p50", "p90", "p95", "p99"]
    )


def test_summary_refuses_nan():
    with pytest.raises(ValueError, match="finite"):
        summarise([1.0, float("nan")], unit="s", better="lower")


@pytest.mark.parametrize(("better", "ratio"), [("higher", 2.0), ("lower", 0.5)])
def test_ratio_above_one_means_the_candidate_is_better(better, ratio):
    assert Pair(process=0, block=0, pair=0, baseline=10.0, candidate=20.0).ratio(better) == ratio


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_pair_refuses_a_value_without_a_ratio(value):
    with pytest.raises(ValueError, match="positive"):
        Pair(process=0, block=0, pair=0, baseline=1.0, candidate=value)


def test_comparison_has_the_keys_of_the_result_and_is_json():
    comparison = compare_pairs(make_pairs(noise(np.random.default_rng(0), 6)), better="higher")
    assert list(comparison) == [
        "ratio",
        "ci95",
        "blocks",
        "pairs",
        "p_value",
        "processes",
        "spread",
    ]
    assert json.loads(json.dumps(comparison)) == comparison
    assert (comparison["processes"], comparison["blocks"], comparison["pairs"]) == (1, 6, 24)
    assert [value is not None for value in comparison["spread"].values()] == [False, True, True]


def test_estimate_is_the_geometric_mean():
    assert compare_pairs(make_pairs([[math.log(2)], [math.log(8)]]), better="higher")[
        "ratio"
    ] == pytest.approx(4.0)


def test_blocks_weigh_the_same_however_many_pairs_they_hold():
    log_ratios = [[math.log(2)] * 7, [math.log(8)]]
    assert compare_pairs(make_pairs(log_ratios), better="higher")["ratio"] == pytest.approx(4.0)


def test_swapped_arms_give_the_reciprocal_interval():
    log_ratios = noise(np.random.default_rng(1), 5) + 0.3
    one = compare_pairs(make_pairs(log_ratios), better="higher")
    other = compare_pairs(make_pairs(-log_ratios), better="higher")
    assert other["ratio"] == pytest.approx(1 / one["ratio"])
    assert other["ci95"] == pytest.approx([1 / one["ci95"][1], 1 / one["ci95"][0]])


def test_interval_holds_the_estimate_and_repeats_with_its_seed():
    pairs = make_pairs(noise(np.random.default_rng(2), 4))
    first = compare_pairs(pairs, better="lower", seed=7)
    assert first["ci95"][0] < first["ratio"] < first["ci95"][1]
    assert compare_pairs(pairs[::-1], better="lower", seed=7)["ci95"] == pytest.approx(
        first["ci95"]
    )
    assert compare_pairs(pairs, better="lower", seed=8)["ci95"] != first["ci95"]


def test_one_block_has_no_interval():
    comparison = compare_pairs(
        make_pairs(noise(np.random.default_rng(3), 1, pairs=50)), better="higher"
    )
    assert comparison["ci95"] is None
    assert comparison["ratio"] is not None


def test_same_block_number_in_two_processes_is_two_blocks():
    row = noise(np.random.default_rng(4), 1)
    assert (
        compare_pairs(make_pairs(row) + make_pairs(row, process=1), better="higher")["blocks"] == 2
    )


def test_processes_weigh_the_same_however_many_blocks_they_hold():
    pairs = make_pairs([[math.log(2)]] * 7) + make_pairs([[math.log(8)]], process=1)
    comparison = compare_pairs(pairs, better="higher")
    assert comparison["ratio"] == pytest.approx(4.0)
    assert (comparison["processes"], comparison["blocks"]) == (2, 8)


def test_one_block_in_each_of_two_processes_has_an_interval():
    """As wide as two draws allow.

    Student's t of one degree of freedom is 12.7, and half the difference is the standard error.
    """
    pairs = make_pairs([[0.01]]) + make_pairs([[0.03]], process=1)
    low, high = compare_pairs(pairs, better="higher")["ci95"]
    assert math.log(high) == pytest.approx(0.02 + 12.7062 * 0.01, rel=1e-4)
    assert math.log(high) + math.log(low) == pytest.approx(0.04)


@pytest.mark.parametrize("blocks", [1, 4])
def test_more_blocks_do_not_hide_the_draw_between_processes(blocks):
    """Three processes of +-3 %: the interval is that of their means, whatever is inside them."""
    rng = np.random.default_rng(8)
    pairs = [
        pair
        for process, draw in enumerate([-0.03, 0.0, 0.03])
        for pair in make_pairs(draw + rng.normal(0, 0.0001, (blocks, 4)), process=process)
    ]
    low, high = compare_pairs(pairs, better="higher")["ci95"]
    student_half_width = 4.3027 * 0.03 / math.sqrt(3)
    assert math.log(high / low) / 2 == pytest.approx(student_half_width, rel=0.01)


def test_processes_that_agree_by_luck_do_not_hide_the_spread_inside_them():
    pairs = [
        pair for process in range(3) for pair in make_pairs([[-0.1], [0.1]] * 2, process=process)
    ]
    low, high = compare_pairs(pairs, better="higher")["ci95"]
    assert math.log(high / low) > 2 * 1.6 * 0.1 / math.sqrt(
        12
    )  # 1.96 but for the steps between twelve of +-0.1


@pytest.mark.parametrize(
    ("processes", "p_value"), [(1, 2 / 2**12), (2, None), (5, None), (6, 2 / 2**6)]
)
def test_the_p_value_of_several_processes_is_over_their_means(processes, p_value):
    pairs = [
        pair
        for process in range(processes)
        for pair in make_pairs(
            [[0.001 * (20 * process + block + 1)] for block in range(12)], process=process
        )
    ]
    assert compare_pairs(pairs, better="higher")["p_value"] == (p_value and pytest.approx(p_value))


def test_the_interval_of_processes_repeats_with_its_seed_in_any_order():
    pairs = [
        pair for p in range(3) for pair in make_pairs(noise(np.random.default_rng(p), 3), process=p)
    ]
    assert compare_pairs(pairs[::-1], better="lower", seed=7) == compare_pairs(
        pairs, better="lower", seed=7
    )


def test_nothing_measured_cannot_be_compared():
    with pytest.raises(ValueError, match="one pair or more"):
        compare_pairs([], better="higher")
    assert relative_half_width([], better="higher") is None


def test_ratios_without_noise_have_an_interval_without_width():
    assert compare_pairs(make_pairs([[0.1, 0.1]] * 3), better="higher")["ci95"] == pytest.approx(
        [math.exp(0.1)] * 2
    )


def test_interval_does_not_depend_on_how_often_a_block_repeats_the_same_ratio():
    uneven = compare_pairs(make_pairs([[0.01] * 4, [0.02], [0.04] * 2]), better="higher")["ci95"]
    assert uneven == pytest.approx(
        compare_pairs(make_pairs([[0.01], [0.02], [0.04]]), better="higher")["ci95"]
    )


@pytest.mark.parametrize("blocks", [2, 3, 6, 12])
@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_the_half_width_is_that_of_the_interval_as_a_share_of_the_ratio(blocks, shift):
    """A run that stops at a width must print that width."""
    drawn = noise(np.random.default_rng(5), blocks)
    pairs = make_pairs([block + shift for block in drawn])
    comparison = compare_pairs(pairs, better="higher")
    low, high = comparison["ci95"]
    expected = (high - low) / 2 / comparison["ratio"]
    assert relative_half_width(pairs, better="higher") == pytest.approx(expected, rel=1e-9)


def test_one_block_has_no_half_width():
    assert relative_half_width(make_pairs([[0.1, 0.2]]), better="higher") is None


def test_more_pairs_in_a_block_do_not_hide_the_draw_between_blocks():
    rng = np.random.default_rng(6)
    blocks = rng.normal(0, BLOCK_SD, (5, 1))
    few, many = (
        compare_pairs(make_pairs(blocks + rng.normal(0, 0.001, (5, pairs))), better="higher")[
            "ci95"
        ]
        for pairs in (4, 200)
    )
    assert many[1] - many[0] > 0.9 * (few[1] - few[0])


def test_blocks_that_agree_by_luck_do_not_hide_the_spread_of_their_pairs():
    low, high = compare_pairs(make_pairs([[-0.1, 0.1]] * 4), better="higher")["ci95"]
    assert math.log(high / low) > 2 * 1.9 * 0.1 / math.sqrt(8)


@pytest.mark.parametrize(("blocks", "p_value"), [(5, None), (6, 2 / 2**6), (8, 2 / 2**8)])
def test_p_value_is_exact_and_null_where_it_could_not_reach_five_percent(blocks, p_value):
    log_ratios = [[0.01 * (block + 1)] for block in range(blocks)]
    assert compare_pairs(make_pairs(log_ratios), better="higher")["p_value"] == (
        p_value and pytest.approx(p_value)
    )


def test_p_value_without_any_difference_is_null():
    assert compare_pairs(make_pairs([[0.0]] * 8), better="higher")["p_value"] is None


MACHINES = {
    "2 blocks": {"blocks": 2},
    "3 blocks": {"blocks": 3},
    "5 blocks": {"blocks": 5},
    "12 blocks": {"blocks": 12},
    "pairs alone": {
        "blocks": 24,
        "pairs": 20,
        "block_sd": 0.0,
        "pair_sd": 0.2,
    },  # a machine that others use, too
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_interval_of_an_arm_against_itself_contains_one_in_95_percent_of_the_runs(machine):
    runs, rng = 400, np.random.default_rng(machine["blocks"])
    intervals = [
        compare_pairs(make_pairs(noise(rng, **machine)), better="higher", resamples=300, seed=run)[
            "ci95"
        ]
        for run in range(runs)
    ]
    coverage = sum(low <= 1 <= high for low, high in intervals) / runs
    # Three binomial standard deviations, 3.3 %. Uncorrected, three blocks cover 85 %; with the
    # textbook factor, 99.5 %, and so do pairs that are drawn inside blocks which hold their noise
    # already.
    assert abs(coverage - 0.95) < 3 * math.sqrt(0.95 * 0.05 / runs)


def test_interval_of_fifteen_blocks_takes_less_than_50_ms():
    pairs = make_pairs(noise(np.random.default_rng(7), 15))
    took_s = []
    for _ in range(5):
        start_s = time.process_time()
        compare_pairs(pairs, better="higher")
        took_s.append(time.process_time() - start_s)
    assert min(took_s) < 0.05
