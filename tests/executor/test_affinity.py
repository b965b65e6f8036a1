"""The CPUs of a worker: what is started meanwhile has them, and what cannot be had is refused."""

import os
import subprocess
import sys

import pytest

from jaxgen.errors import UserError
from jaxgen.executor.affinity import pinned
from jaxgen.executor.worker_process import Worker
from jaxgen.specs.run import Process

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system cannot pin"
)


def test_what_is_started_meanwhile_has_the_cpus_and_this_process_keeps_its_own():
    before = os.sched_getaffinity(0)
    cpu = max(before)
    with pinned([cpu]):
        ask = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"]
        said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"{{{cpu}}}"
    assert os.sched_getaffinity(0) == before


def test_a_start_that_fails_leaves_this_process_its_cpus():
    before = os.sched_getaffinity(0)
    with pytest.raises(ZeroDivisionError), pinned([min(before)]):
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before


def test_no_list_changes_nothing():
    before = os.sched_getaffinity(0)
    with pinned([]):
        assert os.sched_getaffinity(0) == before


def test_a_cpu_that_this_process_may_not_use_is_refused(tmp_path):
    with (tmp_path / "log").open("wb") as log, pytest.raises(UserError) as refused:
        Worker(Process(pin=(0, 9999)), log=log, shares_device=False)
    message = str(refused.value)
    assert message.startswith("process.pin=[0, 9999] cannot be had: this process may use the CPUs ")
    assert message.endswith("give some of them, or [] for all")


def test_a_system_that_cannot_pin_says_so(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(UserError, match="needs Linux"), pinned([0]):
        pass


def test_cpus_are_kept_in_order_and_once():
    assert Process(pin=(3, 1, 3)) == Process(pin=(1, 3))
    with pytest.raises(UserError, match=r"process\.pin"):
        Process(pin=(-1,))
