"""When two arms' answers count as the same, and that a log-probability is asked for only where they part."""

import math

import pytest

from jaxgen.measure.agreement import TOLERANCES, compare

FLOAT32 = ["float32"] * 6


def rows(*answers, prompt=(9, 8)):
    return [
        {"index": index, "prompt_tokens": list(prompt), "tokens": list(tokens)} for index, tokens in enumerate(answers)
    ]


def never(arm, before, tokens):
    raise AssertionError("nothing to ask: the answers are the same")


def says(candidate, baseline):
    """Each arm's log-probabilities of (its own token, the other's), in the candidate's order."""
    by_arm = {"candidate": candidate, "baseline": baseline}
    return lambda arm, before, tokens: list(by_arm[arm])


def agreement(candidate, baseline, logprobs=never, *, dtypes=FLOAT32, greedy=True):
    return compare(rows(*candidate), rows(*baseline), dtypes=dtypes, greedy=greedy, logprobs=logprobs)


def test_the_same_tokens_are_identical_and_nothing_is_asked():
    found = agreement([[1, 2, 3], [4]], [[1, 2, 3], [4]])
    assert found == {
        "status": "identical",
        "tokens_compared": 4,
        "prompts_compared": 2,
        "prompts_diverging": 0,
        "first_divergence": None,
        "max_abs_logprob_diff": None,
        "kl_max": None,
        "tolerance": TOLERANCES["float32"],
    }


CLOSE, APART = (-1.0, -1.0005), (-1.0, -1.5)
"""Two candidates' log-probabilities that float32 may swap, and two that it may not."""


@pytest.mark.parametrize(
    ("candidate", "baseline", "status"),
    [(CLOSE, CLOSE, "rounding"), (CLOSE, APART, "different"), (APART, CLOSE, "different"), (APART, APART, "different")],
)
def test_a_near_tie_has_to_be_one_in_both_arms(candidate, baseline, status):
    assert agreement([[1, 2]], [[1, 3]], says(candidate, baseline))["status"] == status


@pytest.mark.parametrize(
    ("dtypes", "gap", "status"),
    [
        (FLOAT32, 0.0019, "rounding"),
        (FLOAT32, 0.0021, "different"),
        (["float16"] * 6, 0.19, "rounding"),
        (["float16"] * 6, 0.21, "different"),
        (["bfloat16"] * 6, 0.99, "rounding"),
        (["bfloat16"] * 6, 1.01, "different"),
        (["float32"] * 5 + ["bfloat16"], 0.99, "rounding"),
    ],
)
def test_the_narrowest_dtype_says_how_near_a_tie_is(dtypes, gap, status):
    logprobs = says((-1.0, -1.0 - gap), (-1.0, -1.0 - gap))
    assert agreement([[1]], [[2]], logprobs, dtypes=dtypes)["status"] == status


def test_one_prompt_that_differs_is_enough():
    by_tokens = {(1, 2): CLOSE, (3, 4): APART, (5, 6): CLOSE}
    found = agreement([[1], [3], [5]], [[2], [4], [6]], lambda arm, before, tokens: by_tokens[tuple(tokens)])
    assert (found["status"], found["prompts_diverging"]) == ("different", 3)


def test_an_answer_that_ended_earlier_is_different():
    found = agreement([[1, 2]], [[1, 2, 3]])
    assert found["status"] == "different"
    assert found["first_divergence"] == {"index": 0, "position": 2, "candidate": None, "baseline": 3}
    assert found["tokens_compared"] == 2


def test_both_arms_are_asked_after_what_they_have_in_common():
    asked = []

    def logprobs(arm, before, tokens):
        asked.append((arm, before, tokens))
        return list(CLOSE)

    agreement([[1, 2, 3]], [[1, 2, 7]], logprobs)
    assert asked == [("candidate", [9, 8, 1, 2], [3, 7]), ("baseline", [9, 8, 1, 2], [3, 7])]


def test_the_first_divergence_is_told_with_its_figures():
    found = agreement([[1], [1, 2]], [[1], [1, 3]], says((-1.0, -1.25), (-1.125, -1.25)))
    assert found["first_divergence"] == {
        "index": 1,
        "position": 1,
        "candidate": 2,
        "baseline": 3,
        "logprobs": {"candidate": [-1.0, -1.25], "baseline": [-1.125, -1.25]},
        "margin": 0.25,
    }
    assert found["max_abs_logprob_diff"] == 0.125


def test_the_largest_difference_of_all_divergences_is_kept():
    by_tokens = {
        (1, 2): {"candidate": [-1.0, -1.0], "baseline": [-1.5, -1.0]},
        (3, 4): {"candidate": [-1.0, -1.0], "baseline": [-1.0, -1.0]},
    }
    found = agreement([[1], [3]], [[2], [4]], lambda arm, before, tokens: by_tokens[tuple(tokens)][arm])
    assert found["max_abs_logprob_diff"] == 0.5


class TestDrawn:
    """With a temperature a token is drawn: a near-tie explains nothing."""

    def test_drawn_tokens_of_one_dtype_have_to_be_the_same(self):
        assert agreement([[1]], [[2]], says(CLOSE, CLOSE), greedy=False)["status"] == "different"

    @pytest.mark.parametrize(("moved", "status"), [(0.49, "rounding"), (0.51, "different")])
    def test_between_dtypes_the_log_probabilities_may_move(self, moved, status):
        logprobs = says((-1.0, -3.0), (-1.0 - moved, -3.0))
        mixed = ["float32"] * 3 + ["bfloat16"] * 3
        assert agreement([[1]], [[2]], logprobs, dtypes=mixed, greedy=False)["status"] == status


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_different_and_leave_no_nan(broken):
    found = agreement([[1]], [[2]], says((-1.0, broken), (-1.0, -1.0)))
    assert found["status"] == "different"
    assert found["max_abs_logprob_diff"] is None
    assert "logprobs" not in found["first_divergence"]


def test_answers_to_different_prompts_are_refused():
    with pytest.raises(ValueError, match="zip"):
        agreement([[1]], [[1], [2]])
