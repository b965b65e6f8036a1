"""No wrong cache passes for rounding: 21 bugs in the embedded model, each called different.

The arms are whole but for their processes: both generate, the candidate with the bug, and what
their workers are asked afterwards says what became of it. `tests/bench/agreement.py` does the same
with every cache.
"""

import pytest

from support.arms_in_process import ArmsInProcess, arms_of
from support.injected_bugs import BuggyArm, bugs

NEW_TOKENS = 16
ARMS = (
    "model=tiny",
    "cache=fixed",
    "workload.batch_size=2",
    f"workload.max_new_tokens={NEW_TOKENS}",
    "workload.ignore_eos=true",
    "prompts=text",
    "prompts.text=['One windy morning Nora took her blue kite', '2 + 18 = 20, 13 + 14 =']",
    # One program for the baseline, not one for each length.
    "baseline.overrides=['cache.pad=true']",
)
BUGS = bugs(new_tokens=NEW_TOKENS)

DTYPES = {
    "float32": (),
    "bfloat16": ("dtype=bfloat16",),
    "int8": ("dtype=int8", "dtype.kv=int8", "baseline.dtype=float32"),
}


class Arms:
    """Two arms, the candidate's engine replaced by one with a bug."""

    def __init__(self, arms: ArmsInProcess):
        self._arms = arms
        self._right = arms.engine("candidate")
        self._baseline = arms.outputs("baseline")
        self._buggy = BuggyArm(self._right)

    def without_bug(self) -> dict:
        self._arms.put("candidate", self._right)
        return self._arms.agreement(baseline=self._baseline)

    def agreement(self, name: str) -> dict:
        bug = BUGS[name]
        if bug.eps is not None:
            # A number of the architecture: it has programs of its own.
            self._arms.put("candidate", BuggyArm(self._right, bug).engine)
        else:
            self._buggy.inject(bug)
            self._arms.put("candidate", self._buggy.engine)
        return self._arms.agreement(baseline=self._baseline)


@pytest.fixture(scope="module", params=DTYPES)
def arms(request):
    loaded = arms_of((*ARMS, *DTYPES[request.param]))
    yield Arms(loaded)
    loaded.close()


@pytest.mark.slow
def test_no_bug_is_missed(arms):
    missed = {}
    for name in BUGS:
        agreed = arms.agreement(name)
        if agreed["status"] != "different":
            missed[name] = agreed
    assert missed == {}


@pytest.mark.slow
def test_right_arms_are_not_different(arms):
    agreed = arms.without_bug()
    assert (agreed["status"] in ("identical", "rounding"), agreed["reasons"]) == (True, [])
    assert agreed["algorithm"]["positions"] == 2 * NEW_TOKENS
