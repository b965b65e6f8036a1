"""The verdict at, inside and outside the margin, and what its sentence says and keeps to itself."""

import numpy as np
import pytest

from jaxgen.measure.verdict import place_of, verdict


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
        (1.00, 1 / 1.02, 1.02, "equivalent"),  # the margin itself is inside
        (1.05, 1.02, 1.08, "inconclusive"),  # touches the margin: not outside
        (0.95, 0.92, 1 / 1.02, "inconclusive"),
        (1.05, 1.01, 1.09, "inconclusive"),
        (1.00, 0.90, 1.10, "inconclusive"),
        (0.9805, 0.9802, 0.981, "inconclusive"),  # 1 / 1.02 is 0.9804: as far from 1 as 1.02
        (0.976, 0.972, 0.9803, "slower"),
    ],
)
def test_the_interval_against_the_margin_gives_the_verdict(ratio, low, high, expected):
    assert judge(ratio, low, high)[0] == expected


SWAPPED = {"faster": "slower", "slower": "faster"}


@pytest.mark.parametrize("high", [0.95, 0.9803, 0.9804, 0.985, 1.0, 1.01, 1.02, 1.0205, 1.08])
@pytest.mark.parametrize("width", [1e-4, 0.003, 0.03, 0.2])
def test_swapped_arms_have_the_swapped_verdict(high, width):
    low = high - width
    word = place_of([low, high], 0.02)
    assert place_of([1 / high, 1 / low], 0.02) == SWAPPED.get(word, word)


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
        "fixed and none are equally fast within 2 %: "
        "95 % interval -1.0 to +1.0 %, 24 pairs in 6 blocks"
    )
    assert judge(1.0, 0.99, 1.01)[1] == sentence


def test_an_open_question_says_what_is_certain_and_what_could_have_been_found():
    assert judge(1.02, 1.01, 1.03) == (
        "inconclusive",
        (
            "fixed measured 2.0 % faster than none (95 % interval +1.0 to +3.0 %, 24 pairs in 6 "
            "blocks): faster by at least 1.0 %; by 2 % is not settled; "
            "a gain of 3.4 % would have been found in 4 of 5 such runs"
        ),
    )


def test_an_open_loss_says_the_same_of_slowness():
    assert "slower by at least 1.0 %; by 2 % is not settled" in judge(0.98, 0.97, 0.99)[1]


def test_where_not_even_the_direction_is_known_that_is_said():
    sentence = judge(1.02, 0.97, 1.07)[1]
    assert (
        "which of them is faster is not settled, nor that they are equal within 2 %; "
        "a gain of 9.4 % would have been found" in sentence
    )
    assert "a gain of 4.42x would have been found" in judge(1.0, 0.36, 2.8)[1]


def test_what_could_have_been_found_is_the_margin_and_1_43_half_widths():
    """Simulated: of estimates about it, four of five intervals lie beyond the margin."""
    half_width, gain = 0.02, 0.02 + 1.43 * 0.02
    centres = gain + np.random.default_rng(0).normal(0, half_width / 1.96, 20000)
    assert (centres - half_width > 0.02).mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "sentence"),
    [
        (1.0004, 1.0001, 1.0007, "fixed is 0.04 % faster than none (95 % interval +0.01 to +0.1 %"),
        (0.9996, 0.9993, 0.9999, "fixed is 0.04 % slower than none (95 % interval -0.1 to -0.01 %"),
        (1.000002, 1.000001, 1.000003, "fixed is 0.0002 % faster than none"),
    ],
)
def test_a_tiny_difference_at_margin_0_has_as_many_digits_as_it_takes(ratio, low, high, sentence):
    word, text = judge(ratio, low, high, margin=0.0)
    assert word == ("faster" if ratio > 1 else "slower")
    assert text.startswith(sentence)


def test_arms_of_one_speed_measured_as_fast():
    assert "fixed measured as fast as none" in judge(1.0, 0.9, 1.1)[1]


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
    sentence = judge(1.0, 0.99, 1.01, margin_source="the default")[1]
    assert sentence == (
        "fixed and none are equally fast within 2 % (the default): "
        "95 % interval -1.0 to +1.0 %, 24 pairs in 6 blocks"
    )


def test_an_open_question_tells_whence_its_margin_comes():
    sentence = judge(1.05, 1.01, 1.09, margin_source="the default")[1]
    assert "by 2 % (the default) is not settled" in sentence


@pytest.mark.parametrize(
    ("ratio", "low", "high"), [(1.1, 1.05, 1.15), (0.9, 0.85, 0.95), (3.0, None, None)]
)
def test_a_margin_that_decides_nothing_is_not_explained(ratio, low, high):
    assert judge(ratio, low, high, margin_source="the default") == judge(ratio, low, high)


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
