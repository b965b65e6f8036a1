"""What a study found, on the terminal."""

from support.small_runs import finished_result
from support.terminal_lines import lines_of, row


def test_a_calibration_tells_the_spread_and_what_every_pair_showed(tmp_path):
    calibration = {
        "start_spread": {
            "deviation": 0.0312,
            "freedom": 1,
            "mean": 0.0,
            "first_starter_gain": -0.02,
        },
        "comparisons": [
            {"block_means": [0.01, 0.03], "standard_error": 0.01, "started_first": "baseline"},
            {"block_means": [-0.02], "standard_error": None, "started_first": "candidate"},
        ],
        "key": "cpu | EPYC | generate | tiny",
        "kept_in": "start_spread.json",
    }
    text = " ".join(lines_of(finished_result(tmp_path, calibration=calibration)))
    assert "start spread of cpu | EPYC | generate | tiny: 3.12 %" in text
    assert "2 pairs of processes with equal arms" in text
    assert "+2.00 % ± 1.00 %, the baseline started first" in text
    assert "-2.00 %, the candidate started first" in text
    assert "who started first was faster by -2.00 %" in text
    assert "kept in start_spread.json" in text
    assert "tokens/s" not in text


def test_a_study_that_failed_halfway_can_be_shown(tmp_path):
    calibration = finished_result(tmp_path, calibration={"comparisons": []})
    assert lines_of(calibration) == []
    selftest = finished_result(tmp_path, selftest={"same": []}, notes=["it failed"])
    assert lines_of(selftest) == ["note: it failed"]


def test_a_self_test_tells_its_rates_and_every_fault(tmp_path):
    selftest = {
        "rates": {"same_left_alone": 0.975, "slowdown_found": 1.0},
        "same": [{}] * 40,
        "slowed": [{}] * 40,
        "slowdown": 0.05,
        "margin": 0.02,
        "coverage": {
            "held": 38,
            "of": 40,
            "rate": 0.95,
            "ci95": [0.831, 0.994],
            "cells": {"candidate started first, own names": {"held": 38, "of": 40}},
        },
        "faults": {
            "clock": {"found": True, "reason": "the timer is wrong"},
            "recompile": {"found": False, "reason": "faster"},
        },
    }
    lines = lines_of(finished_result(tmp_path, selftest=selftest))
    assert row(lines, "equal arms left alone")[1:] == ["97.5 % of 40 measurements (margin 2 %)"]
    held = row(lines, "their intervals hold 1")
    assert held[1:] == ["38 of 40: 95 %, 95 % interval 83.1 % to 99.4 %"]
    assert any("38 of 40: candidate started first, own names" in line for line in lines)
    assert row(lines, "5 % slowdown found")[1:] == ["100 % of 40 measurements"]
    assert row(lines, "clock")[1:] == ["found: the timer is wrong"]
    assert row(lines, "recompile")[1:] == ["NOT FOUND: faster"]
