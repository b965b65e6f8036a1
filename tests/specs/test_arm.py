"""What the arms are called in sentences and tables."""

import pytest

from jaxgen.specs.arm import names_of
from support.small_runs import arm


@pytest.mark.parametrize(
    ("choices", "names"),
    [
        ({}, ("the candidate", "the baseline")),
        ({"cache": "none"}, ("cache=fixed", "cache=none")),
        (
            {"cache": "none", "dtype": "bfloat16"},
            ("cache=fixed dtype=float32", "cache=none dtype=bfloat16"),
        ),
        ({"baseline": "same"}, ("the candidate", "the baseline")),
    ],
)
def test_arms_are_called_by_what_they_differ_in(choices, names):
    arms = {"candidate": arm("candidate"), "baseline": arm("baseline", **choices)}
    assert tuple(names_of(arms).values()) == names
