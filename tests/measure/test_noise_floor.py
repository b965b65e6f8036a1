"""The file of noise floors: written whole, found again, refused in words; and its figures."""

import json
import math

import platformdirs
import pytest

from jaxgen.errors import UserError
from jaxgen.measure import noise_floor
from jaxgen.measure.noise_floor import false_verdicts, find, floor_from, key_of, save

KEY = key_of("cpu", "EPYC", workload="generate", model="tiny")
ENTRY = {
    "floor": 0.013,
    "repetitions": 20,
    "false_verdict_rate": 0.05,
    "measured_at": "2026-11-21T12:00:00+00:00",
    "plan": {"trials": 4, "blocks": 12},
}


def comparison(low, high):
    return {
        "ratio": math.sqrt(low * high),
        "ci95": [low, high],
        "blocks": 6,
        "pairs": 24,
        "p_value": None,
    }


def test_what_was_saved_is_found(tmp_path):
    path = save(KEY, ENTRY, folder=tmp_path / "not yet there")
    assert find(KEY, folder=path.parent) == ENTRY


@pytest.mark.parametrize("changed", [{"workload": "score"}, {"model": "gpt2"}])
def test_a_floor_holds_for_its_own_key_alone(tmp_path, changed):
    save(KEY, ENTRY, folder=tmp_path)
    assert (
        find(
            key_of("cpu", "EPYC", **({"workload": "generate", "model": "tiny"} | changed)),
            folder=tmp_path,
        )
        is None
    )


def test_nothing_measured_is_nothing_found(tmp_path):
    assert find(KEY, folder=tmp_path) is None


def test_a_new_floor_replaces_its_own_key_and_keeps_the_others(tmp_path):
    save(KEY, ENTRY, folder=tmp_path)
    save("another", ENTRY | {"floor": 0.5}, folder=tmp_path)
    save(KEY, ENTRY | {"floor": 0.02}, folder=tmp_path)
    assert (find(KEY, folder=tmp_path)["floor"], find("another", folder=tmp_path)["floor"]) == (
        0.02,
        0.5,
    )


def test_nothing_is_left_beside_the_file(tmp_path):
    path = save(KEY, ENTRY, folder=tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_entry_that_json_cannot_hold_leaves_the_old_file_as_it_was(tmp_path):
    before = save(KEY, ENTRY, folder=tmp_path).read_text()
    with pytest.raises(ValueError, match="JSON"):
        save(KEY, ENTRY | {"false_verdict_rate": math.nan}, folder=tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("floor", [0, -0.01, math.nan, math.inf, None, "0.02", True])
def test_an_entry_without_a_floor_is_refused(tmp_path, floor):
    with pytest.raises(ValueError, match="floor"):
        save(KEY, ENTRY | {"floor": floor}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        json.dumps({KEY: {}}).encode(),
        json.dumps({KEY: {"floor": -1}}).encode(),
    ],
    ids=["empty", "cut", "list", "bytes", "no floor", "negative"],
)
def test_a_corrupt_file_is_named_with_its_cure(tmp_path, content):
    path = tmp_path / noise_floor.FILE
    path.write_bytes(content)
    with pytest.raises(UserError, match="delete the file") as error:
        find(KEY, folder=tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_corrupt_file_is_not_overwritten(tmp_path):
    (tmp_path / noise_floor.FILE).write_text("{")
    with pytest.raises(UserError, match="delete the file"):
        save(KEY, ENTRY, folder=tmp_path)
    assert (tmp_path / noise_floor.FILE).read_text() == "{"


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be"):
        save(KEY, ENTRY, folder=tmp_path / "taken")


def test_without_a_folder_the_users_own_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda name: str(tmp_path / name))
    assert save(KEY, ENTRY) == tmp_path / "jaxgen" / noise_floor.FILE
    assert find(KEY) == ENTRY


def test_the_floor_is_what_all_but_one_of_twenty_ratios_keep_within():
    strayed = [0.001 * number for number in range(101)]
    ratios = [math.exp(each if number % 2 else -each) for number, each in enumerate(strayed)]
    assert floor_from(ratios) == pytest.approx(math.expm1(0.095))


def test_both_sides_stray_alike():
    assert floor_from([1.02]) == pytest.approx(floor_from([1 / 1.02])) == pytest.approx(0.02)


def test_the_floor_is_never_below_a_tenth_of_a_percent():
    assert floor_from([1.0, 1.0001, 0.9999]) == 0.001


@pytest.mark.parametrize("ratios", [[], [1.0, 0.0], [-1.0], [math.nan], [math.inf]])
def test_ratios_that_are_none_are_refused(ratios):
    with pytest.raises(ValueError, match="positive"):
        floor_from(ratios)


def test_false_verdicts_are_counted_by_the_rules_of_the_verdict():
    runs = [
        comparison(0.99, 1.01),
        comparison(1.03, 1.05),
        comparison(0.9, 0.95),
        comparison(1.01, 1.05),
    ]
    assert false_verdicts(runs, 0.02) == 0.5
    assert false_verdicts(runs, 0.04) == 0.25


def test_a_run_without_an_interval_claims_nothing():
    assert false_verdicts([comparison(0.9, 0.95) | {"ci95": None}], 0.02) == 0.0


def test_without_runs_the_rate_is_unknown():
    assert false_verdicts([], 0.02) is None
