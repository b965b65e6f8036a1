"""The foreign share of the CPU, from made-up clocks and from this machine's own."""

import json
import os
import subprocess
import sys
import time

import pytest

from jaxgen.machine import cpu_load

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/stat")


def clocks(machine_cpu_s, busy_cpu_s, **own_cpu_s):
    own = {pid.removeprefix("pid"): seconds for pid, seconds in own_cpu_s.items()}
    return {
        "load_average": None,
        "machine_cpu_s": machine_cpu_s,
        "busy_cpu_s": busy_cpu_s,
        "own_cpu_s": own,
    }


def test_what_is_busy_and_not_ours_is_foreign():
    before, after = clocks(100.0, 50.0, pid1=3.0), clocks(120.0, 65.0, pid1=8.0)
    assert cpu_load.foreign_cpu_share(before, after) == pytest.approx((15 - 5) / 20)


def test_all_processes_of_the_snapshots_are_ours():
    before, after = clocks(0.0, 0.0, pid1=0.0, pid2=0.0), clocks(10.0, 8.0, pid1=2.0, pid2=4.0)
    assert cpu_load.foreign_cpu_share(before, after) == pytest.approx(0.2)


def test_a_process_that_starts_in_the_window_is_ours():
    assert (
        cpu_load.foreign_cpu_share(
            clocks(0.0, 0.0, pid1=0.0), clocks(10.0, 4.0, pid1=1.0, pid2=3.0)
        )
        == 0.0
    )


def test_a_child_that_ended_is_found_in_its_parent():
    before, after = clocks(0.0, 0.0, pid1=1.0, pid2=3.0), clocks(10.0, 2.0, pid1=6.0)
    assert cpu_load.foreign_cpu_share(before, after) == 0.0


def test_ticks_that_disagree_do_not_make_a_negative_share():
    assert (
        cpu_load.foreign_cpu_share(clocks(0.0, 0.0, pid1=0.0), clocks(1.0, 0.50, pid1=0.51)) == 0.0
    )


def test_without_the_machines_clock_the_share_is_null():
    assert (
        cpu_load.foreign_cpu_share(clocks(None, None, pid1=0.0), clocks(None, None, pid1=1.0))
        is None
    )


def test_a_window_without_length_has_no_share():
    assert (
        cpu_load.foreign_cpu_share(clocks(5.0, 1.0, pid1=0.0), clocks(5.0, 1.0, pid1=0.0)) is None
    )


def test_a_limit_leaves_to_others_what_this_run_could_not_have_used(monkeypatch):
    """Of 8 cores this run may use 2; others may use 6 without taking anything from it."""
    monkeypatch.setattr(cpu_load, "_allowed_cpus", lambda: list(range(8)))
    monkeypatch.setattr(cpu_load.cgroup, "cpu_limit", lambda: 2.0)
    before = clocks(0.0, 0.0, pid1=0.0)
    shares = []
    for foreign_s in (50.0, 60.0, 65.0, 80.0):
        after = clocks(80.0, foreign_s + 10.0, pid1=10.0)
        shares.append(cpu_load.foreign_cpu_share(before, after))
    assert shares == pytest.approx([0.0, 0.0, 0.25, 1.0])


@on_linux
def test_the_cores_that_this_process_may_use_count_and_steal_is_told(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu  1000 0 0 3000 0 0 0 90\ncpu0 100 0 0 200 0 0 0 30\ncpu1 900 0 0 100 0 0 0 60\n"
    )
    monkeypatch.setattr(cpu_load, "PROC_STAT", stat)
    monkeypatch.setattr(cpu_load, "_allowed_cpus", lambda: [0])
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    taken = cpu_load.snapshot()
    assert taken["machine_cpu_s"] == pytest.approx(330 / ticks_per_s)
    assert taken["busy_cpu_s"] == pytest.approx(130 / ticks_per_s)
    assert taken["steal_s"] == pytest.approx(30 / ticks_per_s)


@on_linux
def test_idle_and_iowait_are_not_busy_and_steal_is(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 1000 50 3 7 40 999 999\ncpu0 1 2 3\n")
    monkeypatch.setattr(cpu_load, "PROC_STAT", stat)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    taken = cpu_load.snapshot()
    assert taken["machine_cpu_s"] == pytest.approx(1250 / ticks_per_s)
    assert taken["busy_cpu_s"] == pytest.approx(200 / ticks_per_s)


def test_a_system_without_proc_gives_nulls(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_load, "PROC_STAT", tmp_path / "absent")
    taken = cpu_load.snapshot()
    assert (taken["machine_cpu_s"], taken["busy_cpu_s"]) == (None, None)
    assert taken["own_cpu_s"]


def test_a_snapshot_survives_json():
    before = json.loads(json.dumps(cpu_load.snapshot()))
    assert str(os.getpid()) in before["own_cpu_s"]
    assert cpu_load.foreign_cpu_share(before, clocks(None, None)) is None


def test_work_of_this_process_is_its_own():
    before = cpu_load.snapshot()
    end_s = time.process_time() + 0.1
    while time.process_time() < end_s:
        pass
    pid = str(os.getpid())
    assert cpu_load.snapshot()["own_cpu_s"][pid] - before["own_cpu_s"][pid] == pytest.approx(
        0.1, abs=0.05
    )


def test_a_snapshot_holds_this_process_and_its_live_children_alone():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        own = set(cpu_load.snapshot()["own_cpu_s"])
        assert {str(os.getpid()), str(child.pid)} <= own
        assert str(os.getppid()) not in own
        child.communicate(b"\n")
