"""The picture of the roofline: its words, and its key."""

import matplotlib
import pytest

matplotlib.use("agg")
from matplotlib.figure import Figure

from jaxgen.report.plots import roofline
from jaxgen.report.points import points_of
from jaxgen.results.collection import StoredRun
from support.stored_runs import ROOFLINE, arm


def point(**changed):
    """A run of two arms whose rooflines have these keys too."""
    arms = {"candidate": arm(2.0), "baseline": arm(1.0, cache="none")}
    for of_arm in arms.values():
        of_arm["roofline"] |= changed
    result = {"arms": arms, "cases": [], "comparison": {}, "verdict": None}
    run = StoredRun(folder=None, name="run", result=result, trials=(), no_trials=None)
    (made,) = points_of([run])
    return made


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "memory bandwidth"),
        ({"reads_from": "memory"}, "memory bandwidth"),
        ({"reads_from": "cache"}, "cache's read rate"),
        ({"reads_from": None}, "read rate"),
    ],
    ids=str,
)
def test_the_title_names_what_a_share_is_of(changed, words):
    drawing = roofline.draw([point(**changed)], name="roofline")
    title = f"Of the {words} a step uses 5 % (candidate) and 5 % (baseline)"
    assert drawing.title == title
    assert f"5 % of the {words}" in drawing.alt
    assert ("bandwidth" in drawing.alt) == ("bandwidth" in words)


def test_each_arm_s_step_is_told_below_the_picture_of_one_run():
    times = {"step_s": 3.36e-3, "bytes_s": 2e-4, "flops_s": 1.8e-4}
    drawing = roofline.draw([point(**times)], name="roofline")
    step = "step 3.36 ms: its bytes need 0.20, its FLOPs 0.18: 94 % is overhead."
    assert drawing.note == f"The candidate's {step} The baseline's {step}"


def test_the_key_names_each_kind_of_mark_once():
    only_decode = {"prefill": None}
    points = [point(**only_decode), point(**only_decode)]
    marks = [
        mark for each in points for name in each.arms for mark in roofline._marks_of(each, name)
    ]
    assert len(marks) == 4
    axes = Figure().subplots()
    roofline._put(axes, marks, [(ROOFLINE["bandwidth_bytes_per_s"], ROOFLINE["peak_flops_per_s"])])
    labels = [text.get_text() for legend in axes.figure.legends for text in legend.get_texts()]
    labels += (
        [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []
    )
    assert sorted(labels) == ["baseline, decode", "candidate, decode"]
