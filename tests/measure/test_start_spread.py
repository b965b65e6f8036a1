"""The file of start spreads: written whole, by one at a time, found again; and the deviation."""

import json
import math
import threading

import numpy as np
import platformdirs
import pytest

from jaxgen.errors import UserError
from jaxgen.measure import start_spread
from jaxgen.measure.start_spread import SHIPPED, find, key_of, old_file_note, save, spread_of

CONDITIONS = {"device_kind": "cpu", "cpu": "EPYC", "cores": 2, "model": "tiny"}
KEY = key_of(CONDITIONS)
ENTRY = {
    "deviation": 0.0042,
    "freedom": 7,
    "measured_at": "2026-11-21T12:00:00+00:00",
    "conditions": CONDITIONS,
    "plan": {"processes": 8, "seconds": 10.0},
}
PATIENCE_S = 20


def test_what_was_saved_is_found(tmp_path):
    path = save(KEY, ENTRY, folder=tmp_path / "not yet there")
    spread = find(KEY, folder=path.parent)
    assert (spread.deviation, spread.freedom) == (0.0042, 7)
    assert spread.source == "this machine's calibration of 2026-11-21T12:00:00+00:00"
    assert json.loads(path.read_text())[KEY] == ENTRY


def test_without_a_calibration_the_shipped_one_is_taken_and_says_so(tmp_path):
    assert find(KEY, folder=tmp_path) is SHIPPED
    assert "measured on another machine" in SHIPPED.source
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changed", [{"model": "gpt2"}, {"cores": 64}, {"cpu": "other"}], ids=str)
def test_a_spread_holds_for_its_own_conditions_alone(tmp_path, changed):
    save(KEY, ENTRY, folder=tmp_path)
    assert find(key_of(CONDITIONS | changed), folder=tmp_path) is SHIPPED


def test_a_new_spread_replaces_its_own_key_and_keeps_the_others(tmp_path):
    save(KEY, ENTRY, folder=tmp_path)
    save("another", ENTRY | {"deviation": 0.5}, folder=tmp_path)
    save(KEY, ENTRY | {"deviation": 0.002}, folder=tmp_path)
    found = [find(key, folder=tmp_path).deviation for key in (KEY, "another")]
    assert found == [0.002, 0.5]


def test_two_that_save_at_once_lose_nothing(tmp_path, monkeypatch):
    # Each reads the file, and would write it without what the other one adds.
    read, reading = start_spread._read, threading.Event()
    inside = []

    def slow_read(path):
        entries = read(path)
        inside.append(threading.current_thread().name)
        assert len(inside) == 1, "a second one reads before the first has written"
        reading.set()
        # Long enough for the other one to come here, were it not made to wait.
        threading.Event().wait(0.05)
        inside.clear()
        return entries

    monkeypatch.setattr(start_spread, "_read", slow_read)
    keys = [f"key {number}" for number in range(6)]
    threads = [
        threading.Thread(target=save, args=(key, ENTRY), kwargs={"folder": tmp_path})
        for key in keys
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert reading.is_set()
    assert sorted(json.loads((tmp_path / start_spread.FILE).read_text())) == keys


def test_the_noise_floors_of_an_earlier_version_are_named_and_left(tmp_path):
    assert old_file_note(tmp_path) is None
    old = tmp_path / "noise_floor.json"
    old.write_text(json.dumps({"cpu | EPYC | generate | tiny": {"floor": 0.05}}))
    before = old.read_text()
    assert str(old) in old_file_note(tmp_path)
    save(KEY, ENTRY, folder=tmp_path)
    assert find("cpu | EPYC | generate | tiny", folder=tmp_path) is SHIPPED
    assert old.read_text() == before


def test_an_entry_that_json_cannot_hold_leaves_the_old_file_as_it_was(tmp_path):
    path = save(KEY, ENTRY, folder=tmp_path)
    before = path.read_text()
    with pytest.raises(ValueError, match="JSON"):
        save(KEY, ENTRY | {"plan": {"seconds": math.nan}}, folder=tmp_path)
    assert path.read_text() == before


@pytest.mark.parametrize(
    "broken",
    [
        {"deviation": -0.01},
        {"deviation": math.nan},
        {"deviation": math.inf},
        {"deviation": None},
        {"deviation": "0.02"},
        {"deviation": True},
        {"freedom": 0},
        {"freedom": 7.5},
        {"freedom": True},
    ],
    ids=str,
)
def test_an_entry_that_is_none_is_refused(tmp_path, broken):
    with pytest.raises(ValueError, match="deviation"):
        save(KEY, ENTRY | broken, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        json.dumps({KEY: {}}).encode(),
        json.dumps({KEY: {"deviation": 0.01}}).encode(),
        json.dumps({KEY: {"floor": 0.01}}).encode(),
    ],
    ids=["empty", "cut", "list", "bytes", "nothing", "no freedom", "a floor"],
)
def test_a_corrupt_file_is_named_with_its_cure_and_not_overwritten(tmp_path, content):
    path = tmp_path / start_spread.FILE
    path.write_bytes(content)
    for use in (lambda: find(KEY, folder=tmp_path), lambda: save(KEY, ENTRY, folder=tmp_path)):
        with pytest.raises(UserError, match="delete the file") as error:
            use()
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be"):
        save(KEY, ENTRY, folder=tmp_path / "taken")


def test_without_a_folder_the_users_own_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda name: str(tmp_path / name))
    assert save(KEY, ENTRY) == tmp_path / "jaxgen" / start_spread.FILE
    assert find(KEY).deviation == ENTRY["deviation"]


def test_the_spread_is_the_plain_standard_deviation_and_the_bias_of_a_start_is_in_it():
    # Without any draw, a bias of 0.6 % whose sign alternates is the spread: 0.6 x sqrt(8 / 7).
    deviation, freedom = spread_of([0.006, -0.006] * 4)
    assert deviation == pytest.approx(0.006 * math.sqrt(8 / 7))
    assert freedom == 7


def test_the_spread_of_a_known_deviation_is_found():
    rng = np.random.default_rng(3)
    squares = [spread_of(list(rng.normal(0.01, 0.005, 8)))[0] ** 2 for _ in range(2000)]
    # The variance of 8 has a relative standard deviation of sqrt(2 / 7); of 2000 of them, 1.2 %.
    assert np.mean(squares) == pytest.approx(0.005**2, rel=0.05)


@pytest.mark.parametrize("means", [[], [0.01], [0.01, math.nan], [0.01, math.inf]], ids=str)
def test_means_that_show_no_spread_are_refused(means):
    with pytest.raises(ValueError, match="two or more"):
        spread_of(means)
