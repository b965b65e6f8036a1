"""Whether scores of two arms agree: by the dtypes' tolerance, and which item wins."""

import math

import pytest

from jaxgen.agreement.score_distances import log_differences
from jaxgen.agreement.scores import compare_scores

WIDE, NARROW = (
    {"candidate": ["float32"], "baseline": ["float32"]},
    {"candidate": ["bfloat16"], "baseline": ["float32"]},
)
SCORES = [[0.5, 0.2], [0.3, 0.4]]


def rows(scores):
    return [{"index": index, "scores": row} for index, row in enumerate(scores)]


def agreed(candidate, baseline=SCORES, *, dtypes=WIDE):
    return compare_scores(rows(candidate), rows(baseline), dtypes=dtypes)


def test_equal_scores_are_identical():
    told = agreed(SCORES)
    assert (told["status"], told["scores_compared"], told["max_abs_score_diff"]) == (
        "identical",
        4,
        0.0,
    )
    assert (told["rank_flips"], told["reasons"], told["warnings"]) == ([], [], [])


@pytest.mark.parametrize(
    ("candidate", "dtypes", "status"),
    [
        ([[0.500001, 0.2], [0.3, 0.4]], WIDE, "rounding"),
        ([[0.501, 0.2], [0.3, 0.4]], WIDE, "different"),
        ([[0.515, 0.2], [0.3, 0.4]], NARROW, "rounding"),
        ([[0.53, 0.2], [0.3, 0.4]], NARROW, "different"),
    ],
)
def test_the_narrowest_dtype_says_how_far_apart_they_may_lie(candidate, dtypes, status):
    told = agreed(candidate, dtypes=dtypes)
    assert told["status"] == status
    assert bool(told["reasons"]) == (status == "different")


def test_a_small_score_may_not_be_wrong_by_a_large_share_of_itself():
    told = agreed([[0.006, 0.0004]], [[0.010, 0.0002]], dtypes=NARROW)
    assert told["reasons"] == ["a score differs by 40.0%, where 20.0% is allowed for bfloat16"]
    assert told["max_rel_score_diff"] == pytest.approx(0.4)  # below 0.001 no share is taken


def test_the_worst_item_is_named():
    (reason,) = agreed([[0.5, 0.2], [0.3, 0.45]])["reasons"]
    assert reason.startswith(
        "item 1 differs by 0.05 at label 1, where 1e-05 is allowed for float32"
    )


def test_no_number_is_different_and_named():
    told = agreed([[None, 0.2], [0.3, 0.4]])
    assert (told["status"], told["max_abs_score_diff"]) == ("different", None)
    assert told["reasons"] == ["the candidate's scores hold NaN or Inf"]


def test_another_winner_is_told_with_its_margin():
    told = agreed([[0.5, 0.2999], [0.3, 0.2998]], [[0.5, 0.2998], [0.3, 0.2999]], dtypes=NARROW)
    assert told["status"] == "rounding"
    assert told["rank_flips"] == [
        {"label": 1, "candidate": 0, "baseline": 1, "margin": pytest.approx(0.0001)}
    ]
    assert told["warnings"] == ["another item wins for label 1 (by 0.0001)"]


def test_a_budget_of_kl_takes_the_tolerance_s_place():
    """KL of (0.5, 0.2, rest 0.3) from (0.4, 0.3, rest 0.3) and of the same: 0.0305 and 0."""
    apart, baseline = [[0.4, 0.3], [0.3, 0.4]], SCORES
    by_hand = (0.5 * math.log(0.5 / 0.4) + 0.2 * math.log(0.2 / 0.3)) / 2
    for budget, status in ((0.02, "rounding"), (0.01, "different")):
        told = compare_scores(rows(apart), rows(baseline), dtypes=WIDE, kl_budget=budget)
        assert (told["status"], told["kl_mean"]) == (status, pytest.approx(by_hand))
    (reason,) = told["reasons"]
    assert reason.endswith("more than agreement.kl=0.01")


def test_a_label_asked_for_twice_counts_once():
    twice = [{**row, "scores": [*row["scores"], row["scores"][0]]} for row in rows(SCORES)]
    apart = [{**row, "scores": [0.4, 0.3, 0.4]} for row in rows(SCORES)]
    for row in (*twice, *apart):
        row["label_token_ids"] = [7, 5, 7]
    once = compare_scores(rows([[0.4, 0.3]] * 2), rows(SCORES), dtypes=NARROW)["kl_mean"]
    assert compare_scores(apart, twice, dtypes=NARROW)["kl_mean"] == pytest.approx(once)


def test_differences_are_those_of_logarithms():
    differences, width = log_differences([[0.5, 0.25], [None, 0.1]], [[0.25, 0.5], [0.1, 0.1]])
    assert differences == [[pytest.approx(math.log(2))], [None]]
    assert width > 1
