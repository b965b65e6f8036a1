"""What nvidia-smi tells of the devices, from a script that stands in for it."""

import os

import pytest

from jaxgen.machine import device_load

FAKE = """#!/bin/sh
case "$*" in
  *--query-gpu=utilization.gpu,memory.used*) {devices} ;;
  *--query-compute-apps=pid*) {processes} ;;
  *) exit 9 ;;
esac
"""


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a script on the path that prints what a test wants, or does what it wants."""

    def install(devices, processes="true"):
        script = tmp_path / "nvidia-smi"
        script.write_text(FAKE.format(devices=devices, processes=processes))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def printing(*lines):
    return "printf '%s\\n' " + " ".join(f"'{line}'" for line in lines)


def test_a_machine_without_the_tool_has_no_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device_load.foreign_device_load() is None


def test_an_idle_device_is_a_true_zero(nvidia_smi):
    nvidia_smi(printing("0, 4"))
    found = device_load.foreign_device_load()
    assert found == {"utilisation": 0.0, "memory_used_bytes": 4 * 2**20, "foreign_processes": 0}


def test_the_busiest_device_and_all_memory_count(nvidia_smi):
    nvidia_smi(printing("35, 1024", "90, 1000"))
    found = device_load.foreign_device_load()
    assert found is not None
    assert (found["utilisation"], found["memory_used_bytes"]) == (0.9, 2024 * 2**20)


def test_every_process_counts_once(nvidia_smi):
    one, other = os.getpid(), os.getppid()
    nvidia_smi(printing("1, 1"), printing(one, other, other))  # a process on two devices is one
    found = device_load.foreign_device_load()
    assert found is not None
    assert found["foreign_processes"] == 2


def test_processes_numbered_outside_a_container_cannot_be_told_apart(nvidia_smi):
    nvidia_smi(printing("1, 1"), printing(2**22 + 1))  # beyond the largest process id of a Linux
    found = device_load.foreign_device_load()
    assert found is not None
    assert found["foreign_processes"] is None


def test_what_the_device_does_not_support_is_null(nvidia_smi):
    nvidia_smi(printing("[N/A], [N/A]"), printing("[Not Supported]"))
    found = device_load.foreign_device_load()
    assert found == {"utilisation": None, "memory_used_bytes": None, "foreign_processes": None}


def test_a_list_of_processes_that_fails_leaves_the_rest(nvidia_smi):
    nvidia_smi(printing("50, 2"), "exit 6")
    found = device_load.foreign_device_load()
    assert found == {"utilisation": 0.5, "memory_used_bytes": 2 * 2**20, "foreign_processes": None}


@pytest.mark.parametrize(
    "devices",
    [
        "echo 'driver mismatch' >&2; exit 18",
        "true",
        printing("No devices were found"),
        printing("1, 2, 3"),
    ],
    ids=["it fails", "it says nothing", "it says something else", "another number of columns"],
)
def test_a_tool_that_fails_gives_no_answer(nvidia_smi, devices):
    nvidia_smi(devices)
    assert device_load.foreign_device_load() is None


def test_a_tool_that_hangs_is_not_waited_for(nvidia_smi, monkeypatch):
    monkeypatch.setattr(device_load, "TIMEOUT_S", 0.2)
    nvidia_smi("exec sleep 60")
    assert device_load.foreign_device_load() is None
