"""A finished result on the terminal: what is said beside the tables."""

from support.small_runs import VERDICT, finished_result
from support.terminal_lines import lines_of, row


def test_notes_are_shown_as_they_are(tmp_path):
    assert "note: mind [this]" in lines_of(finished_result(tmp_path, notes=["mind [this]"]))


def test_the_first_divergence_is_shown_with_both_texts(tmp_path):
    divergence = {
        "index": 2,
        "position": 7,
        "excerpt": {"candidate": "a «cat»", "baseline": "a [bold]"},
    }
    agreement = VERDICT["agreement"] | {"status": "rounding", "first_divergence": divergence}
    lines = lines_of(finished_result(tmp_path, **VERDICT | {"agreement": agreement}))
    first = lines.index("prompt 2 parts at new token 7:")
    assert lines[first + 1 : first + 3] == ["  candidate a «cat»", "  baseline  a [bold]"]


def test_a_profile_is_a_table_for_each_arm_that_has_one(tmp_path):
    result = finished_result(tmp_path)
    operation = {
        "name": "fusion.1",
        "program": "step",
        "meaning": "dot",
        "count": 3,
        "total_s": 0.0125,
        "share": 0.25,
    }
    result["arms"]["candidate"]["profile"] = {"operations": [operation]}
    lines = lines_of(result)
    assert row(lines, "fusion.1") == ["fusion.1", "step dot", "3", "12.5", "25 %"]
    assert sum("where the time goes" in line for line in lines) == 1
