"""Whether the arms compute one function: what is said where the passes show nothing."""

import pytest

from jaxgen.experiment.algorithm_check import Apart, check
from jaxgen.specs.agreement import AgreementPlan
from support.small_runs import two_arms

WIDE = {"candidate": ["float32"], "baseline": ["float32"]}
NARROW = {"candidate": ["bfloat16"], "baseline": ["float32"]}


class Passes:
    """Passes whose figures are given."""

    are_impossible = False

    def __init__(self, differences, noise=None, *, non_finite=None):
        self._apart = Apart([differences], 4.0, non_finite)
        self._noise = Apart([noise or [None] * len(differences)], 4.0)

    def between_arms(self, *, in_float32):
        return self._apart

    def noise(self, *, in_float32):
        return self._noise


def checked(*figures, dtypes=WIDE, **said):
    return check(two_arms(), dtypes, Passes(*figures, **said), plan=AgreementPlan())


def test_differences_below_any_doubt_pass_without_a_word():
    result = checked([0.0, 1e-7])
    assert (result.test["excess"], result.warnings) == (None, ())


@pytest.mark.parametrize(
    "figures", [([None, None],), ([1.0, 1.0], [None, None])], ids=["no difference", "no noise"]
)
def test_passes_without_a_figure_are_no_test_that_was_passed(figures):
    result = checked(*figures)
    assert result.warnings == ("the arms' algorithms were not tested: no position had a figure",)


def test_what_is_no_number_in_a_shadow_stands_in_the_test():
    result = checked([None, 0.0], dtypes=NARROW, non_finite="candidate")
    assert result.test["non_finite"] == "candidate"
    assert result.test["method"] == "float32 shadows"
