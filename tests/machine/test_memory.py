"""Peak memory: what the system says, what a reset changes, and null where there is no account."""

import sys

import jax
import numpy as np
import pytest

from jaxgen.machine import memory

linux = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
BIG = 64 * 2**20


@linux
def test_a_reset_forgets_the_peak_and_a_new_one_is_seen():
    np.ones(2 * BIG, np.uint8)
    before = memory.host_peak_rss_bytes()
    assert memory.reset_host_peak()
    after = memory.host_peak_rss_bytes()
    assert before is not None
    assert after is not None
    assert after <= before - BIG
    np.ones(BIG, np.uint8)
    assert (memory.host_peak_rss_bytes() or 0) >= after + BIG // 2


def test_elsewhere_there_is_no_peak(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none" / "status")
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "none" / "clear_refs")
    assert memory.host_peak_rss_bytes() is None
    assert memory.reset_host_peak() is False


def test_a_device_without_an_account_says_so():
    nbytes, reason = memory.device_peak_bytes()
    assert nbytes is None
    assert "cpu" in str(reason)


def test_a_devices_own_account_is_taken(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"peak_bytes_in_use": 123}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert memory.device_peak_bytes() == (123, None)
