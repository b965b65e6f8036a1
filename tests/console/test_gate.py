"""What a gate found, on the terminal."""

from support.small_runs import finished_result
from support.terminal_lines import has, lines_of, row

GATE = {
    "status": "regression",
    "reason": "of 2 rows compared, 1 worse",
    "notes": ["the machine is another"],
    "rows": [
        {
            "metric": "tokens_per_s",
            "params": {"depth": 8},
            "old": 100.0,
            "new": 80.0,
            "change": -0.2,
            "noise": 0.038,
            "status": "REGRESSION",
        },
        {
            "metric": "tpot_s",
            "params": {},
            "old": None,
            "new": 0.5,
            "change": None,
            "noise": None,
            "status": "NEW",
        },
    ],
}


def test_every_row_then_the_notes_then_the_outcome(tmp_path):
    lines = lines_of(finished_result(tmp_path, gate=GATE))
    assert row(lines, "tokens_per_s") == [
        "tokens_per_s depth=8",
        "100.0",
        "80.00",
        "-20.0 %",
        "3.8 %",
        "REGRESSION",
    ]
    assert row(lines, "tpot_s") == ["tpot_s", "-", "0.5000", "-", "-", "NEW"]
    assert lines[-2:] == [
        "note: the machine is another",
        " gate: regression  of 2 rows compared, 1 worse",
    ]


def test_no_gate_no_table(tmp_path):
    assert not has(lines_of(finished_result(tmp_path)), "gate")
