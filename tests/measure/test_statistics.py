"""Summaries and comparisons against numbers worked out by hand."""

import json
import math

import numpy as np
import pytest

from jaxgen.measure.start_spread import SHIPPED, StartSpread
from jaxgen.measure.statistics import (
    Pair,
    centres_of_pairs,
    compare_pairs,
    geometric_mean,
    summarise,
)
from support.simulated_pairs import make_pairs, noise

EXACT = StartSpread(0.0, 13, "a machine whose starts are all alike")
"""With it an interval is that of the blocks alone."""
T_13 = 2.1604
"""Student's t of 13 degrees of freedom, which `SHIPPED` has, at 2.5 %."""


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
        "start_spread",
        "trimmed",
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


def test_the_interval_is_the_same_in_any_order_and_symmetric_in_logs():
    pairs = make_pairs(noise(np.random.default_rng(2), 4))
    comparison = compare_pairs(pairs, better="lower")
    low, high = comparison["ci95"]
    assert low * high == pytest.approx(comparison["ratio"] ** 2)
    assert compare_pairs(pairs[::-1], better="lower") == comparison


def test_one_start_widens_the_interval_by_what_starts_are_known_to_differ():
    """Three blocks of 0, 1 and 2 %: Student's t of 2 degrees of freedom is 4.303."""
    pairs = make_pairs([[0.0], [0.01], [0.02]])
    low, high = compare_pairs(pairs, better="higher", start=EXACT)["ci95"]
    inside = 4.3027 * 0.01 / math.sqrt(3)
    assert math.log(high / low) / 2 == pytest.approx(inside, rel=1e-4)
    comparison = compare_pairs(pairs, better="higher")
    low, high = comparison["ci95"]
    assert math.log(high / low) / 2 == pytest.approx(
        math.hypot(inside, T_13 * SHIPPED.deviation), rel=1e-4
    )
    assert comparison["start_spread"] == {
        "deviation": 0.0072,
        "freedom": 13,
        "source": SHIPPED.source,
    }


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


@pytest.mark.parametrize(("processes", "used"), [(1, True), (3, True), (4, False), (6, False)])
def test_what_is_known_of_starts_counts_below_four_processes(processes, used):
    rng = np.random.default_rng(8)
    pairs = []
    for process in range(processes):
        pairs += make_pairs(noise(rng, 4), process=process)
    comparison = compare_pairs(pairs, better="higher")
    assert (comparison["start_spread"] is not None) is used


def test_starts_that_lie_further_apart_than_known_decide_by_themselves():
    """Two processes 6 % apart, quiet inside: Student's t of one degree of freedom."""
    pairs = []
    for process, draw in enumerate([-0.03, 0.03]):
        pairs += make_pairs([[draw - 0.0001], [draw + 0.0001]] * 6, process=process)
    comparison = compare_pairs(pairs, better="higher")
    assert comparison["start_spread"] is None
    assert math.log(comparison["ci95"][1]) == pytest.approx(12.7062 * 0.03, rel=1e-4)


def test_four_processes_are_students_interval_of_their_means():
    pairs = []
    for process, draw in enumerate([-0.03, -0.01, 0.01, 0.03]):
        pairs += make_pairs(draw + np.array([[0.001, -0.001], [0.002, -0.002]]), process=process)
    _, high = compare_pairs(pairs, better="higher")["ci95"]
    deviation = math.sqrt((2 * 0.03**2 + 2 * 0.01**2) / 3)
    assert math.log(high) == pytest.approx(3.1824 * deviation / 2, rel=1e-4)


def test_a_trimmed_mean_leaves_a_slow_block_out():
    log_ratios = [[0.10], [0.11], [0.09], [0.10], [0.10], [0.12], [0.08], [0.11], [0.10], [-0.9]]
    comparison = compare_pairs(make_pairs(log_ratios), better="higher", start=EXACT)
    trimmed = comparison["trimmed"]
    # Of ten blocks the two lowest and the two highest are left out.
    assert math.log(trimmed["ratio"]) == pytest.approx(0.1)
    assert comparison["ratio"] < 1.01
    low, high = trimmed["ci95"]
    assert low < trimmed["ratio"] < high
    assert high - low < 0.1 * (comparison["ci95"][1] - comparison["ci95"][0])


def test_the_trimmed_interval_is_tukeys_and_mclaughlins():
    """Ten blocks -5 .. 4 %: six inside, the Winsorised ones -3 -3 -3 -2 -1 0 1 2 2 2."""
    log_ratios = [[0.01 * number] for number in range(-5, 5)]
    trimmed = compare_pairs(make_pairs(log_ratios), better="higher", start=EXACT)["trimmed"]
    winsorised = 0.01 * np.array([-3, -3, -3, -2, -1, 0, 1, 2, 2, 2])
    error = winsorised.std(ddof=1) / (0.6 * math.sqrt(10))
    # The textbook's form, n - 1 in the sum and n in the root, against ours of the six inside.
    ours = math.sqrt(((winsorised - winsorised.mean()) ** 2).sum() / (6 * 5))
    assert ours == pytest.approx(error, rel=0.05)
    assert math.log(trimmed["ci95"][1] / trimmed["ci95"][0]) / 2 == pytest.approx(
        2.5706 * ours, rel=1e-4
    )


@pytest.mark.parametrize("blocks", [2, 4])
def test_few_blocks_are_not_trimmed(blocks):
    pairs = make_pairs(noise(np.random.default_rng(1), blocks))
    assert compare_pairs(pairs, better="higher")["trimmed"] is None


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_quotient_of_the_geometric_means_is_the_ratio(better):
    rng = np.random.default_rng(9)
    pairs = []
    # Blocks and processes of different sizes, where plain means would not do.
    for process, sizes in enumerate([(1, 4, 2), (3,)]):
        rows = [rng.normal(0.2, 0.1, size) for size in sizes]
        pairs += make_pairs(rows, baseline=rng.uniform(0.2, 0.3), process=process)
    means = {}
    for arm in ("candidate", "baseline"):
        values = [(pair.process, pair.block, getattr(pair, arm)) for pair in pairs]
        means[arm] = geometric_mean(values)
    quotient = means["candidate"] / means["baseline"]
    if better == "lower":
        quotient = 1 / quotient
    assert compare_pairs(pairs, better=better)["ratio"] == pytest.approx(quotient, rel=1e-12)


@pytest.mark.parametrize("values", [[], [(0, 0, 0.0)], [(0, 0, 1.0), (0, 1, -1.0)]])
def test_nothing_positive_has_no_geometric_mean(values):
    assert geometric_mean(values) is None


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


def test_nothing_measured_cannot_be_compared():
    with pytest.raises(ValueError, match="one pair or more"):
        compare_pairs([], better="higher")
    assert centres_of_pairs([], better="higher") is None


def test_ratios_without_noise_have_an_interval_without_width():
    pairs = make_pairs([[0.1, 0.1]] * 3)
    interval = compare_pairs(pairs, better="higher", start=EXACT)["ci95"]
    assert interval == pytest.approx([math.exp(0.1)] * 2)


def test_interval_does_not_depend_on_how_often_a_block_repeats_the_same_ratio():
    uneven = compare_pairs(make_pairs([[0.01] * 4, [0.02], [0.04] * 2]), better="higher")["ci95"]
    assert uneven == pytest.approx(
        compare_pairs(make_pairs([[0.01], [0.02], [0.04]]), better="higher")["ci95"]
    )


def test_one_block_tells_the_stopping_rule_nothing():
    assert centres_of_pairs(make_pairs([[0.1, 0.2]]), better="higher") is None


@pytest.mark.parametrize(("blocks", "p_value"), [(5, None), (6, 2 / 2**6), (8, 2 / 2**8)])
def test_p_value_is_exact_and_null_where_it_could_not_reach_five_percent(blocks, p_value):
    log_ratios = [[0.01 * (block + 1)] for block in range(blocks)]
    assert compare_pairs(make_pairs(log_ratios), better="higher")["p_value"] == (
        p_value and pytest.approx(p_value)
    )


def test_p_value_without_any_difference_is_null():
    assert compare_pairs(make_pairs([[0.0]] * 8), better="higher")["p_value"] is None
