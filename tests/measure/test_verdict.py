"""The verdict at, inside and outside the margin, and what its sentence says and keeps to itself."""

import pytest

from jaxgen.measure.verdict import verdict


def judge(
    ratio, low, high, *, agreement="identical", dirty=(), margin=0.02, margin_source=None, **sizes
):
    interval = None if low is None else [low, high]
    result = {"ratio": ratio, "ci95": interval, "blocks": 6, "pairs": 24, "p_value": None} | sizes
    names = {"candidate": "fixed", "baseline": "none"}
    return verdict(
        result,
        margin=margin,
        margin_source=margin_source,
        agreement=agreement,
        dirty=dirty,
        **names,
    )


@pytest.mark.parametrize(
    ("ratio", "low", "high", "expected"),
    [
        (1.10, 1.03, 1.17, "faster"),
        (0.90, 0.85, 0.95, "slower"),
        (1.00, 0.99, 1.01, "equivalent"),
        (1.00, 0.98, 1.02, "equivalent"),  # the margin itself is inside
        (1.05, 1.02, 1.08, "inconclusive"),  # touches the margin: not outside
        (0.95, 0.92, 0.98, "inconclusive"),
        (1.05, 1.01, 1.09, "inconclusive"),
        (1.00, 0.90, 1.10, "inconclusive"),
        (0.976, 0.972, 0.9805, "inconclusive"),  # 1 - margin is 0.98, not 1 / 1.02
        (0.9805, 0.9802, 0.981, "equivalent"),  # likewise
    ],
)
def test_the_interval_against_the_margin_gives_the_verdict(ratio, low, high, expected):
    assert judge(ratio, low, high)[0] == expected


def test_the_same_interval_is_judged_by_the_margin_given():
    assert judge(1.05, 1.03, 1.07, margin=0.02)[0] == "faster"
    assert judge(1.05, 1.03, 1.07, margin=0.10)[0] == "equivalent"


def test_a_large_gain_is_a_factor():
    assert (
        judge(12.3, 11.9, 12.8)[1]
        == "fixed is 12.3x faster than none (95 % interval 11.9 to 12.8, 24 pairs in 6 blocks)"
    )


def test_a_small_gain_is_in_percent():
    sentence = (
        "fixed is 3.1 % faster than none (95 % interval +2.2 to +4.0 %, 24 pairs in 6 blocks)"
    )
    assert judge(1.031, 1.022, 1.040)[1] == sentence


def test_a_small_loss_is_in_percent():
    sentence = (
        "fixed is 3.1 % slower than none (95 % interval -4.0 to -2.2 %, 24 pairs in 6 blocks)"
    )
    assert judge(0.969, 0.960, 0.978)[1] == sentence


def test_a_large_loss_is_a_factor_of_slowness():
    assert "2.50x slower than none (95 % interval 2.00 to 4.00," in judge(0.4, 0.25, 0.5)[1]


def test_a_very_large_gain_has_no_exponent():
    assert "1234x faster" in judge(1234.4, 1200.0, 1300.0)[1]


def test_an_equivalence_names_its_margin():
    sentence = (
        "fixed and none are equally fast within 2 % "
        "(95 % interval -1.0 to +1.0 %, 24 pairs in 6 blocks)"
    )
    assert judge(1.0, 0.99, 1.01)[1] == sentence


def test_an_open_question_names_interval_and_margin():
    sentence = judge(1.05, 1.01, 1.09)[1]
    assert "+1.0 to +9.0 %" in sentence
    assert "does not settle it against a margin of 2 %" in sentence


def test_a_ratio_that_rounds_to_one_is_as_fast():
    assert "fixed measured as fast as none" in judge(1.0002, 0.9, 1.1)[1]


def test_without_an_interval_nothing_is_concluded():
    word, sentence = judge(3.0, None, None, blocks=1, pairs=4)
    assert word == "inconclusive"
    assert "4 pairs in 1 block" in sentence
    assert "no interval" in sentence


def test_blocks_of_different_length_are_counted_in_pairs():
    assert "23 pairs in 6 blocks" in judge(1.0, 0.99, 1.01, pairs=23)[1]


@pytest.mark.parametrize(
    ("processes", "blocks", "pairs", "size"),
    [
        (1, 6, 24, "24 pairs in 6 blocks"),
        (3, 12, 24, "24 pairs in 12 blocks in 3 processes"),
        (2, 2, 2, "2 pairs in 2 blocks in 2 processes"),
        (3, 10, 20, "20 pairs in 10 blocks in 3 processes"),
        (3, 10, 19, "19 pairs in 10 blocks in 3 processes"),
    ],
)
def test_several_processes_are_counted(processes, blocks, pairs, size):
    sentence = judge(1.1, 1.05, 1.15, processes=processes, blocks=blocks, pairs=pairs)[1]
    assert sentence.endswith(f"(95 % interval +5.0 to +15.0 %, {size})")


def test_an_equivalence_tells_whence_its_margin_comes():
    sentence = judge(1.0, 0.99, 1.01, margin_source="this machine's noise floor")[1]
    assert sentence == (
        "fixed and none are equally fast within 2 % (this machine's noise floor): "
        "95 % interval -1.0 to +1.0 %, 24 pairs in 6 blocks"
    )


def test_an_open_question_tells_whence_its_margin_comes():
    sentence = judge(1.05, 1.01, 1.09, margin_source="this machine's noise floor")[1]
    assert sentence.endswith(
        "does not settle it against a margin of 2 % (this machine's noise floor)"
    )


@pytest.mark.parametrize(
    ("ratio", "low", "high"), [(1.1, 1.05, 1.15), (0.9, 0.85, 0.95), (3.0, None, None)]
)
def test_a_margin_that_decides_nothing_is_not_explained(ratio, low, high):
    assert judge(ratio, low, high, margin_source="this machine's noise floor") == judge(
        ratio, low, high
    )


@pytest.mark.parametrize(
    "result",
    [None, {"ratio": None, "ci95": None, "blocks": 0, "pairs": 0, "p_value": None}],
    ids=["none", "empty"],
)
def test_nothing_measured_is_inconclusive(result):
    word, sentence = verdict(result, margin=0.02, agreement="identical", dirty=[])
    assert word == "inconclusive"
    assert "no pair of trials was measured" in sentence


def test_different_outputs_are_invalid_and_no_speed_up_is_told():
    assert judge(12.3, 11.9, 12.8, agreement="different") == (
        "invalid",
        "the measurement is invalid: the outputs of fixed and none differ",
    )


def test_a_dirty_window_is_invalid_and_all_reasons_are_told():
    word, sentence = judge(
        12.3,
        11.9,
        12.8,
        agreement="different",
        dirty=["fixed compiled in 3 trials", "a timer stood"],
    )
    assert word == "invalid"
    assert "outputs of fixed and none differ; fixed compiled in 3 trials; a timer stood" in sentence
    assert "12.3" not in sentence


def test_a_dirty_window_without_a_comparison_is_invalid():
    assert (
        verdict(None, margin=0.02, agreement=None, dirty=["fixed compiled in 3 trials"])[0]
        == "invalid"
    )


def test_rounding_does_not_stand_in_the_way():
    assert judge(12.3, 11.9, 12.8, agreement="rounding") == judge(12.3, 11.9, 12.8)


def test_outputs_not_compared_are_confessed():
    word, sentence = judge(12.3, 11.9, 12.8, agreement=None)
    assert word == "faster"
    assert sentence.endswith("the outputs were not compared")


def test_an_unknown_agreement_is_refused():
    with pytest.raises(ValueError, match="diferent"):
        judge(1.0, 0.9, 1.1, agreement="diferent")
