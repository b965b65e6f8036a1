"""What a report says in one sentence: of runs that are no plain comparison, and of all points."""

import pytest

from jaxgen.report import sentences
from jaxgen.report.points import points_of
from jaxgen.report.run_warnings import warnings_of
from jaxgen.results import formatting
from jaxgen.results.collection import collect
from support import stored_runs
from support.stored_runs import arm, result, sweep, write

ALONE = {
    "verdict": None,
    "verdict_reason": None,
    "comparison": {},
    "agreement": None,
    "arms": {"candidate": arm(2.0)},
}
FAULTS = {"clock": {"found": True}, "recompile": {"found": False}}
RATES = {"same_left_alone": 0.95, "slowdown_found": 1.0}
RUNS = {
    "one arm": (result(**ALONE), "One arm was measured, without a baseline: 200 tokens/s."),
    "a gate": (
        result(**ALONE, gate={"rows": [], "status": "passed", "reason": "no row is worse"}),
        "The gate passed: no row is worse.",
    ),
    "a gate beside a verdict": (
        result(
            verdict_reason="b is faster",
            gate={"rows": [], "status": "regression", "reason": "1 is worse"},
        ),
        "B is faster. The gate found a regression: 1 is worse.",
    ),
    "a gate without a partner": (
        result(
            verdict_reason="b is faster",
            gate={"rows": [], "status": "nothing to compare", "reason": "no row"},
        ),
        "B is faster. The gate found nothing to compare: no row.",
    ),
    "a calibration": (
        result(
            **ALONE,
            calibration={
                "start_spread": {"deviation": 0.0042, "freedom": 7},
                "key": "cpu | tiny",
                "comparisons": [{}] * 8,
            },
        ),
        (
            "A start moves the ratio of equal arms by 0.42 % (one standard deviation, 8 pairs of "
            "processes; cpu | tiny)."
        ),
    ),
    "a calibration of an earlier version": (
        result(**ALONE, calibration={"floor": 0.067, "key": "cpu | tiny", "repetitions": 10}),
        "The noise floor of cpu | tiny is 6.70 %, by 10 measurements.",
    ),
    "a selftest": (
        result(**ALONE, selftest={"rates": RATES, "slowdown": 0.05, "faults": FAULTS}),
        (
            "Equal arms were left alone in 95 % of the measurements, "
            "a slowdown of 5 % was found in 100 %, and 1 of 2 faults were found."
        ),
    ),
    "a failure": (
        stored_runs.failed(arm(1.0)),
        "The run failed; the candidate: OutOfMemory: no room for <b>1 GB</b>.",
    ),
}


@pytest.mark.parametrize("what", RUNS)
def test_every_kind_of_run_has_its_sentence(tmp_path, what):
    stored, sentence = RUNS[what]
    (run,) = collect([write(tmp_path / "run", stored)]).runs
    assert sentences.sentence_of(run) == sentence


def test_what_a_gate_notes_stands_among_the_warnings(tmp_path):
    gate = {
        "rows": [],
        "status": "passed",
        "reason": "none is worse",
        "notes": ["the model differs"],
    }
    (run,) = collect([write(tmp_path / "run", result(gate=gate))]).runs
    assert warnings_of(run) == ["A note of the run.", "The model differs."]


def test_a_regression_among_several_points_is_named(tmp_path):
    for number, status in enumerate(("passed", "regression")):
        arms = {
            "candidate": arm(2.0, jit=str(number)),
            "baseline": arm(1.0, cache="none", jit=str(number)),
        }
        gate = {"rows": [], "status": status, "reason": "why"}
        write(tmp_path / str(number), result(arms=arms, gate=gate))
    points = points_of(collect([tmp_path]).runs)
    sentence = sentences.sentence_of_all(points, unread=0)
    assert "; the gate found a regression at jit=1. Note" in sentence


def test_the_largest_gain_is_told_of_points_that_stand(tmp_path):
    """The invalid point of the sweep has eight times the baseline's speed."""
    collection = collect([sweep(tmp_path)])
    points = points_of(collection.runs)
    sentence = sentences.sentence_of_all(points, unread=len(collection.unread))
    assert sentence.endswith(
        "the largest gain is 3.00 [2.85, 3.15] times, at cache=fixed dtype=int8."
    )


def test_baselines_that_differ_are_told():
    same = {"cache": "fixed", "dtype": "float32", "workload": "generate"}
    assert formatting.baselines_apart([same, same | {"workload": "score"}]) is None
    warning = formatting.baselines_apart([same, same | {"dtype": "int8"}])
    assert warning is not None
    assert warning.startswith("the points' baselines differ in dtype, ")
    assert "baseline.dtype=OPTION" in warning
