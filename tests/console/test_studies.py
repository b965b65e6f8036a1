"""What a study found, on the terminal."""

import re

from support.small_runs import finished_result
from support.terminal_lines import lines_of, row


def test_a_calibration_tells_the_floor_and_what_it_is_worth(tmp_path):
    calibration = {
        "floor": 0.0312,
        "repetitions": 20,
        "key": "cpu | EPYC | generate | tiny",
        "kept_in": "noise_floor.json",
        "false_verdict_rates": {
            "without_margin": 0.45,
            "at_default_margin": 0.1,
            "at_noise_floor": 0.0,
        },
        "default_margin": 0.02,
    }
    text = " ".join(lines_of(finished_result(tmp_path, calibration=calibration)))
    assert "noise floor of cpu | EPYC | generate | tiny: 3.12 %" in text
    assert "20 measurements of an arm against itself" in text
    for words, rate in (
        ("without any margin", "45 %"),
        ("at the default of 2 %", "10 %"),
        ("the noise floor ", "0 %"),
    ):
        assert re.search(rf"{re.escape(words)} +{rate}", text)
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
        "faults": {
            "clock": {"found": True, "reason": "the timer is wrong"},
            "recompile": {"found": False, "reason": "faster"},
        },
    }
    lines = lines_of(finished_result(tmp_path, selftest=selftest))
    assert row(lines, "equal arms left alone")[1:] == ["97.5 % of 40 measurements (margin 2 %)"]
    assert row(lines, "5 % slowdown found")[1:] == ["100 % of 40 measurements"]
    assert row(lines, "clock")[1:] == ["found: the timer is wrong"]
    assert row(lines, "recompile")[1:] == ["NOT FOUND: faster"]
