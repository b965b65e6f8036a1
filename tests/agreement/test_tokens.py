"""When two arms' outputs count as the same, and why not.

A log-probability is asked for only where they part.
"""

import math

import pytest

from jaxgen.agreement.algorithm import algorithm_test
from jaxgen.agreement.divergence import Draw
from jaxgen.agreement.forced import PERCENTILE
from jaxgen.agreement.tokens import MOST_NAMED, compare_tokens
from jaxgen.agreement.tolerance import MEASURED_SPREAD, TOLERANCES, tolerance


def both(dtype, other=None):
    """All three knobs of the candidate in one dtype, of the baseline in another or the same."""
    return {"candidate": [dtype] * 3, "baseline": [other or dtype] * 3}


FLOAT32 = both("float32")


def rows(*answers, prompt=(9, 8)):
    return [
        {"index": index, "prompt_tokens": list(prompt), "tokens": list(tokens)}
        for index, tokens in enumerate(answers)
    ]


def told(moved, *, kl=None, margins=None, **others):
    """What the candidate's worker says of the teacher-forced logits, by row and position."""
    count = sum(map(len, moved))
    return {
        "forced": {"candidate": "steps", "baseline": "one pass"},
        "max_abs_logprob_diff": moved,
        "kl": kl or [[0.0 for _ in row] for row in moved],
        "margins": {"candidate": margins or moved, "baseline": margins or moved},
        "logit_spread": 2.0,
        "non_finite": None,
        "skipped": None,
        "positions_compared": count,
        "positions_total": count,
    } | others


def never(arm, before, tokens):
    raise AssertionError("nothing to ask: the answers are the same")


def says(candidate, baseline):
    """Each arm's log-probabilities of (its own token, the other's), in the candidate's order."""
    by_arm = {"candidate": candidate, "baseline": baseline}
    return lambda arm, before, tokens: list(by_arm[arm])


def agreement(candidate, baseline, logprobs=never, *, dtypes=FLOAT32, greedy=True, forced=None):
    return compare_tokens(
        rows(*candidate),
        rows(*baseline),
        dtypes=dtypes,
        greedy=greedy,
        logprobs=logprobs,
        forced=forced,
    )


def test_the_same_tokens_are_identical_and_nothing_is_asked():
    found = agreement([[1, 2, 3], [4]], [[1, 2, 3], [4]])
    assert found == {
        "status": "identical",
        "reasons": [],
        "warnings": [],
        "tokens_compared": 4,
        "prompts_compared": 2,
        "prompts_diverging": 0,
        "first_divergence": None,
        "max_abs_logprob_diff": None,
        "kl_max": None,
        "kl_mean": None,
        "tolerance": TOLERANCES["float32"],
        "tolerance_reason": "both arms use float32: that is 24 bits of precision",
        "forced": None,
        "quality": None,
        "algorithm": None,
        "depth_compared": None,
        "kl_budget": None,
    }


CLOSE, APART = (-1.0, -1.0005), (-1.0, -1.5)
"""Two candidates' log-probabilities that float32 may swap, and two that it may not."""


@pytest.mark.parametrize(
    ("candidate", "baseline", "status"),
    [
        (CLOSE, CLOSE, "rounding"),
        (CLOSE, APART, "different"),
        (APART, CLOSE, "different"),
        (APART, APART, "different"),
    ],
)
def test_a_near_tie_has_to_be_one_in_both_arms(candidate, baseline, status):
    assert agreement([[1, 2]], [[1, 3]], says(candidate, baseline))["status"] == status


@pytest.mark.parametrize(
    ("dtypes", "gap", "status"),
    [
        (FLOAT32, 0.0019, "rounding"),
        (FLOAT32, 0.0021, "different"),
        (both("float16"), 0.19, "rounding"),
        (both("float16"), 0.21, "different"),
        (both("bfloat16"), 0.99, "rounding"),
        (both("bfloat16"), 1.01, "different"),
        (both("int8", "float32"), 1.99, "rounding"),
        (both("int8", "float32"), 2.01, "different"),
        (
            {"candidate": ["float32"] * 3, "baseline": ["float32", "float32", "bfloat16"]},
            0.99,
            "rounding",
        ),
    ],
)
def test_the_narrowest_dtype_says_how_near_a_tie_is(dtypes, gap, status):
    logprobs = says((-1.0, -1.0 - gap), (-1.0, -1.0 - gap))
    assert agreement([[1]], [[2]], logprobs, dtypes=dtypes)["status"] == status


def test_one_prompt_that_differs_is_enough():
    by_tokens = {(1, 2): CLOSE, (3, 4): APART, (5, 6): CLOSE}
    found = agreement(
        [[1], [3], [5]], [[2], [4], [6]], lambda arm, before, tokens: by_tokens[tuple(tokens)]
    )
    assert (found["status"], found["prompts_diverging"]) == ("different", 3)


def test_an_answer_that_ended_earlier_is_different():
    found = agreement([[1, 2]], [[1, 2, 3]])
    assert found["status"] == "different"
    first = found["first_divergence"]
    assert (first["index"], first["position"], first["candidate"], first["baseline"]) == (
        0,
        2,
        None,
        3,
    )
    assert first["logprobs"] is None
    assert found["reasons"] == ["prompt 0 parts at token 2, where the candidate had ended"]
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
        "margin": {"candidate": None, "baseline": None},
        "excerpt": {"candidate": "tokens 1 2", "baseline": "tokens 1 3"},
    }
    assert found["max_abs_logprob_diff"] == 0.125


def test_the_largest_difference_of_all_divergences_is_kept():
    by_tokens = {
        (1, 2): {"candidate": [-1.0, -1.0], "baseline": [-1.5, -1.0]},
        (3, 4): {"candidate": [-1.0, -1.0], "baseline": [-1.0, -1.0]},
    }
    found = agreement(
        [[1], [3]], [[2], [4]], lambda arm, before, tokens: by_tokens[tuple(tokens)][arm]
    )
    assert found["max_abs_logprob_diff"] == 0.5


class TestDrawn:
    """With a temperature a token is drawn: a near-tie explains nothing."""

    def test_drawn_tokens_of_one_dtype_have_to_be_the_same(self):
        assert agreement([[1]], [[2]], says(CLOSE, CLOSE), greedy=False)["status"] == "different"

    @pytest.mark.parametrize(("moved", "status"), [(0.49, "rounding"), (0.51, "different")])
    def test_between_dtypes_the_log_probabilities_may_move(self, moved, status):
        logprobs = says((-1.0, -3.0), (-1.0 - moved, -3.0))
        mixed = both("float32", "bfloat16")
        assert agreement([[1]], [[2]], logprobs, dtypes=mixed, greedy=False)["status"] == status

    def test_two_dtypes_within_both_arms_do_not_make_the_arms_different(self):
        alike = {arm: ["float32", "bfloat16", "bfloat16"] for arm in ("candidate", "baseline")}
        assert (
            agreement([[1]], [[2]], says(CLOSE, CLOSE), dtypes=alike, greedy=False)["status"]
            == "different"
        )


def draw(noise=(0.0, 0.0), *, candidate=("in", "in"), baseline=("in", "in"), temperature=1.0):
    return Draw(temperature, noise, {"candidate": candidate, "baseline": baseline})


class TestDrawnTogether:
    """Drawn with one seed: the noise is the same in both arms, and known."""

    def status(self, candidate, baseline, of_draw):
        """Candidate's token and baseline's, by their log-probabilities in each arm."""
        found = compare_tokens(
            rows([1]),
            rows([2]),
            dtypes=FLOAT32,
            greedy=False,
            logprobs=says(candidate, baseline),
            draws={0: of_draw},
        )
        return found["status"], found["reasons"]

    def test_a_near_tie_of_the_perturbed_logits_is_rounding(self):
        of_draw = draw((0.5, 2.5))
        assert self.status((-1.0, -3.0), (-1.0, -2.9995), of_draw) == ("rounding", [])

    def test_the_noise_counts_by_the_temperature(self):
        of_draw = draw((0.5, 2.5), temperature=0.5)
        assert self.status((-1.0, -2.0), (-1.0, -1.9995), of_draw)[0] == "rounding"
        assert self.status((-1.0, -3.0), (-1.0, -2.9995), of_draw)[0] == "different"

    def test_an_arm_that_drew_what_trails_is_different(self):
        status, (reason,) = self.status((-1.0, -3.0), (-1.0, -3.0), draw((0.5, 2.0)))
        assert status == "different"
        assert "by 0.5 in the baseline's log-probability and the noise of the draw" in reason

    def test_a_token_at_the_edge_may_be_cut_in_one_arm(self):
        at_edge = draw((5.0, 0.0), candidate=("edge", "in"), baseline=("edge", "in"))
        assert self.status((-3.0, -1.0), (-3.0, -1.0), at_edge) == ("rounding", [])
        assert self.status((-3.0, -1.0), (-3.0, -1.0), draw((5.0, 0.0)))[0] == "different"

    def test_a_token_that_cannot_be_drawn_is_different(self):
        status, reasons = self.status(CLOSE, CLOSE, draw(candidate=("out", "in")))
        assert (status, reasons) == (
            "different",
            ["prompt 0 parts at token 0, at a token that the candidate cannot draw"],
        )


class TestBudget:
    """What the dtypes may cost, by the user's word."""

    @pytest.mark.parametrize(("budget", "status"), [(0.3, "identical"), (0.2, "different")])
    def test_it_takes_the_tolerance_s_place(self, budget, status):
        found = compare_tokens(
            rows([1, 2]),
            rows([1, 2]),
            dtypes=both("bfloat16", "float32"),
            greedy=True,
            logprobs=never,
            forced=told([[9.0, 9.0]], kl=[[0.2, 0.3]], **ALIKE),
            kl_budget=budget,
        )
        assert (found["status"], found["kl_budget"]) == (status, budget)
        assert all("agreement.kl=0.2" in reason for reason in found["reasons"])


ALIKE = {"next_token_alike": [[1, 1]], "logit_error": [[0.1, 0.1]]}


def test_the_depth_is_that_of_the_last_compared_token():
    found = agreement([[1, 2, 3]], [[1, 2, 3]], forced=told([[0.0, 0.0, None]]))
    assert found["depth_compared"] == 3  # two of the prompt, and the first new one


def test_another_function_is_different_whatever_the_tokens_are():
    test = algorithm_test([[1.0] * 4], [[1e-6] * 4], spread=1.0, method="arms")
    found = compare_tokens(
        rows([1]), rows([1]), dtypes=FLOAT32, greedy=True, logprobs=never, algorithm=test
    )
    assert (found["status"], found["algorithm"]) == ("different", test)


def test_a_near_tie_is_no_wider_than_the_arms_were_seen_to_differ():
    logprobs = says((-1.0, -1.3), (-1.0, -1.3))
    dtypes = both("bfloat16")
    assert agreement([[1]], [[2]], logprobs, dtypes=dtypes)["status"] == "rounding"
    forced = told([[0.05]])
    found = agreement([[1]], [[2]], logprobs, dtypes=dtypes, forced=forced)
    assert found["status"] == "different"


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_different_and_leave_no_nan(broken):
    found = agreement([[1]], [[2]], says((-1.0, broken), (-1.0, -1.0)))
    assert found["status"] == "different"
    assert found["max_abs_logprob_diff"] is None
    assert found["first_divergence"]["logprobs"] is None
    assert found["reasons"] == [
        "prompt 0 parts at token 0, where the candidate's logits hold NaN or Inf"
    ]


def test_answers_to_different_prompts_are_refused():
    with pytest.raises(ValueError, match="zip"):
        agreement([[1]], [[1], [2]])


FAR, NEAR = 2 * TOLERANCES["float32"], TOLERANCES["float32"] / 2


class TestReasons:
    """What `different` rests on, in clauses."""

    def test_a_parting_is_named_with_its_figures(self):
        found = agreement([[1, 2], [5, 6]], [[1, 2], [5, 7]], says((-1.0, -4.1), (-1.0, -1.0)))
        (reason,) = found["reasons"]
        assert reason == (
            "prompt 1 parts at token 1 by 3.1 in the candidate's log-probability, "
            "more than twice the tolerance of 0.001"
        )

    def test_what_rounding_explains_has_no_reason(self):
        assert agreement([[1]], [[2]], says(CLOSE, CLOSE))["reasons"] == []

    def test_many_partings_are_counted_after_the_first_few(self):
        count = MOST_NAMED + 2
        found = agreement([[1]] * count, [[2]] * count, says(APART, APART))
        assert len(found["reasons"]) == MOST_NAMED + 1
        assert found["reasons"][-1] == "2 more prompts part beyond rounding"

    @pytest.mark.parametrize(
        ("who", "clause"),
        [
            ("candidate", "the candidate's logits hold NaN or Inf"),
            ("baseline", "the baseline's logits hold NaN or Inf"),
            ("both", "both arms' logits hold NaN or Inf"),
        ],
    )
    def test_logits_that_are_no_numbers_are_different_even_under_the_same_tokens(self, who, clause):
        found = agreement(
            [[0, 0]], [[0, 0]], forced=told([[None, None]], non_finite=who, logit_spread=None)
        )
        assert (found["status"], found["reasons"]) == ("different", [clause])
        assert found["max_abs_logprob_diff"] is None


class TestForced:
    """Teacher-forced logits: one flipped token hides nothing."""

    def test_a_near_tie_is_no_excuse_for_distributions_that_differ(self):
        found = agreement(
            [[1, 2, 3]], [[1, 5, 3]], says(CLOSE, CLOSE), forced=told([[NEAR, FAR, FAR]])
        )
        assert found["status"] == "different"
        (reason,) = found["reasons"]
        assert "more than the tolerance of 0.001, first in prompt 0 at token 1" in reason

    def test_a_near_tie_between_like_distributions_is_rounding(self):
        found = agreement(
            [[1, 2, 3]], [[1, 5, 3]], says(CLOSE, CLOSE), forced=told([[NEAR, NEAR, NEAR]])
        )
        assert (found["status"], found["reasons"], found["warnings"]) == ("rounding", [], [])

    def test_one_position_in_many_may_lie_outside(self):
        few, many = 50, 500
        for count, status in ((few, "different"), (many, "rounding")):
            moved = [[NEAR] * (count - 1) + [100 * FAR]]
            assert (
                agreement([[1]], [[2]], says(CLOSE, CLOSE), forced=told(moved))["status"] == status
            )
        assert few * (1 - PERCENTILE / 100) < 1 < many * (1 - PERCENTILE / 100)

    def test_the_same_tokens_from_other_distributions_are_different(self):
        found = agreement([[1, 2]], [[1, 2]], forced=told([[NEAR, FAR]]))
        assert (found["status"], found["warnings"]) == ("different", [])
        (reason,) = found["reasons"]
        assert reason.startswith("on the same tokens the arms' log-probabilities differ by ")

    def test_the_figures_are_those_of_all_positions(self):
        forced = told([[0.25, 0.5], [0.125, None]], kl=[[0.5, 0.25], [0.75, None]])
        found = agreement(
            [[1, 2], [3, 4]], [[1, 2], [3, 4]], dtypes=both("bfloat16"), forced=forced
        )
        assert (found["max_abs_logprob_diff"], found["kl_max"], found["kl_mean"]) == (
            0.5,
            0.75,
            0.5,
        )
        assert found["forced"]["method"] == {"candidate": "steps", "baseline": "one pass"}
        assert found["forced"]["kl_by_position"] == [0.75, 0.25]
        assert found["forced"]["max_abs_logprob_diff_by_position"] == [0.25, 0.5]

    def test_the_margin_at_the_parting_is_each_arms_own(self):
        forced = told([[NEAR, NEAR]], margins=[[2.0, 3.0]])
        forced["margins"]["candidate"] = [[2.0, 0.5]]
        first = agreement([[1, 2]], [[1, 3]], says(CLOSE, CLOSE), forced=forced)["first_divergence"]
        assert first["margin"] == {"candidate": 0.5, "baseline": 3.0}

    def test_what_could_not_be_compared_is_a_warning(self):
        forced = told([], skipped="the vocabularies differ", logit_spread=None)
        found = agreement([[1]], [[1]], forced=forced)
        assert (found["status"], found["warnings"]) == (
            "identical",
            ["the logits were not compared: the vocabularies differ"],
        )
        assert (found["kl_max"], found["kl_mean"], found["max_abs_logprob_diff"]) == (
            None,
            None,
            None,
        )


class TestTolerance:
    """By the coarsest dtype of both arms, and with the logits' spread."""

    @pytest.mark.parametrize("dtype", TOLERANCES)
    def test_it_is_that_of_the_coarsest_dtype_which_the_reason_names(self, dtype):
        found = tolerance(both("float32", dtype), None)
        assert found.value == TOLERANCES[dtype]
        assert dtype in found.reason

    def test_the_reason_names_the_pair(self):
        assert tolerance(both("float32", "bfloat16"), None).reason == (
            "float32 against bfloat16: bfloat16, the coarsest, has 8 bits of precision"
        )

    @pytest.mark.parametrize("spread", [0.1, MEASURED_SPREAD])
    def test_narrow_logits_change_nothing(self, spread):
        assert tolerance(FLOAT32, spread) == tolerance(FLOAT32, None)

    def test_wide_logits_widen_it_and_the_reason_says_so(self):
        found = tolerance(FLOAT32, 3 * MEASURED_SPREAD)
        assert found.value == 3 * TOLERANCES["float32"]
        assert found.reason.endswith(
            "; its 0.001 holds up to logits of standard deviation 4, and these have 12"
        )

    def test_the_spread_of_the_forced_logits_is_the_one(self):
        forced = told([[NEAR]], logit_spread=2 * MEASURED_SPREAD)
        assert agreement([[1]], [[1]], forced=forced)["tolerance"] == 2 * TOLERANCES["float32"]


class TestExcerpt:
    """Both answers around their first difference."""

    def excerpt(self, *texts, tokens=((1, 2), (1, 3))):
        candidate, baseline = (
            {**rows(ids)[0], "text": text} for ids, text in zip(tokens, texts, strict=True)
        )
        found = compare_tokens(
            [candidate],
            [baseline],
            dtypes=FLOAT32,
            greedy=True,
            logprobs=says(CLOSE, CLOSE),
            forced=None,
        )
        return found["first_divergence"]["excerpt"]

    def test_it_begins_a_little_before_the_difference(self):
        text = (
            "Once upon a time there was a little {} who lived in a house at the end of the street."
        )
        assert self.excerpt(text.format("fox"), text.format("bear")) == {
            "candidate": "…as a little fox who lived in a house at …",
            "baseline": "…as a little bear who lived in a house at…",
        }

    def test_short_texts_are_shown_whole(self):
        assert self.excerpt("a b", "a c") == {"candidate": "a b", "baseline": "a c"}

    @pytest.mark.parametrize("texts", [(None, None), ("same", "same")])
    def test_tokens_stand_in_for_text_that_is_missing_or_shows_nothing(self, texts):
        tokens = ((1, 2, 3, 4, 5), (1, 2, 3, 4, 6))
        assert self.excerpt(*texts, tokens=tokens) == {
            "candidate": "tokens … 2 3 4 5",
            "baseline": "tokens … 2 3 4 6",
        }
