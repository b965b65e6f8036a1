"""Variance components against formulas and a simulation; advice against what would help."""

import numpy as np
import pytest

from jaxgen.measure.spread import advice, spread_by_level


def nested(rows):
    return [[np.array(block, dtype=float) for block in process] for process in rows]


def draw(rng, *, process=0.0, block=0.0, pair=0.0, sizes=((4,) * 4,) * 4):
    """One run; `sizes` holds the pairs of each block of each process."""
    return [
        [at + rng.normal(0, block) + rng.normal(0, pair, size) for size in blocks]
        for blocks in sizes
        for at in [rng.normal(0, process)]
    ]


def test_a_balanced_run_gives_the_textbook_estimates():
    # Means of blocks 0, 2 | 4, 10, pairs +-1 about them: mean squares 2 (pair), 20 x 2 / 2 (block),
    # 8 x 3**2 (process).
    spread = spread_by_level(nested([[[-1, 1], [1, 3]], [[3, 5], [9, 11]]]))
    assert spread["pair"] == pytest.approx(2**0.5)
    assert spread["block"] == pytest.approx(((20 - 2) / 2) ** 0.5)
    assert spread["process"] == pytest.approx(((72 - 20) / 4) ** 0.5)


@pytest.mark.parametrize(
    ("rows", "known"),
    [
        ([], set()),
        ([[[0.1]]], set()),
        ([[[0.1, 0.2]]], {"pair"}),
        ([[[0.1], [0.2]]], {"block"}),
        ([[[0.1, 0.2], [0.2]]], {"block", "pair"}),
        ([[[0.1]], [[0.2]]], {"process"}),
        ([[[0.1, 0.3]], [[0.2, 0.1]]], {"process", "pair"}),
        ([[[0.1], [0.3]], [[0.2]]], {"process", "block"}),
    ],
)
def test_a_level_of_single_units_is_null(rows, known):
    spread = spread_by_level(nested(rows))
    assert list(spread) == ["process", "block", "pair"]
    assert {level for level, value in spread.items() if value is not None} == known


def test_a_negative_estimate_is_zero_and_known():
    spread = spread_by_level(nested([[[-1, 1], [-1, 1], [-1, 1]]]))
    assert spread == {"process": None, "block": 0.0, "pair": pytest.approx((6 / 3) ** 0.5)}


@pytest.mark.parametrize("sizes", [((4,) * 4,) * 4, ((1, 2, 6), (3, 3), (8,), (2, 2, 2, 2, 2))])
def test_the_estimates_have_no_bias_whether_balanced_or_not(sizes):
    """Averages of variances, before the root is taken.

    Small true ones would be clipped at zero and so look larger.
    """
    rng, truth = np.random.default_rng(0), {"process": 0.05, "block": 0.03, "pair": 0.01}
    runs = [spread_by_level(draw(rng, sizes=sizes, **truth)) for _ in range(1500)]
    for level, sd in truth.items():
        # A variance of three degrees of freedom has a standard error of 0.82, over 1500 runs 0.021;
        # clipping adds some.
        assert np.mean([run[level] ** 2 for run in runs]) == pytest.approx(sd**2, rel=0.1)


def test_a_shift_of_all_ratios_changes_nothing():
    logs = draw(np.random.default_rng(1), process=0.02, block=0.02, pair=0.02)
    shifted = [[block + 2.5 for block in process] for process in logs]
    assert spread_by_level(shifted) == pytest.approx(spread_by_level(logs))


@pytest.mark.parametrize(
    ("spread", "counts", "expected"),
    [
        (
            {"process": None, "block": 0.02, "pair": 0.02},
            (1, 6, 24),
            "more blocks (measure.blocks)",
        ),
        (
            {"process": None, "block": 0.001, "pair": 0.02},
            (1, 6, 24),
            "more pairs in a block (measure.trials)",
        ),
        (
            {"process": 0.02, "block": 0.02, "pair": 0.02},
            (3, 12, 48),
            "more processes (measure.processes)",
        ),
        (
            {"process": 0.001, "block": 0.02, "pair": 0.02},
            (3, 12, 48),
            "more blocks (measure.blocks)",
        ),
        (
            {"process": 0.0, "block": 0.0, "pair": 0.02},
            (3, 12, 48),
            "more pairs in a block (measure.trials)",
        ),
    ],
)
def test_the_advice_is_to_buy_what_adds_most_to_the_error_of_the_mean(spread, counts, expected):
    processes, blocks, pairs = counts
    assert advice(spread, processes=processes, blocks=blocks, pairs=pairs).startswith(expected)


def test_the_advice_names_the_share():
    sentence = advice(
        {"process": None, "block": 0.03, "pair": 0.06}, processes=1, blocks=4, pairs=16
    )
    assert sentence == (
        "more blocks (measure.blocks) would narrow the interval most: "
        "50% of its variance comes from block to block"
    )


@pytest.mark.parametrize(
    ("spread", "counts"),
    [
        ({"process": None, "block": None, "pair": None}, (0, 0, 0)),
        ({"process": None, "block": None, "pair": 0.02}, (1, 1, 4)),
        ({"process": None, "block": 0.0, "pair": 0.0}, (1, 3, 6)),
    ],
    ids=["nothing", "one block", "no noise"],
)
def test_no_advice_where_it_cannot_be_told(spread, counts):
    processes, blocks, pairs = counts
    assert advice(spread, processes=processes, blocks=blocks, pairs=pairs) is None
