"""How busy an accelerator is, so that a run can say whether it had the device to itself; no jax
here.

Only NVIDIA's tool tells such a thing from outside a process, so that elsewhere nothing is known. It
cannot tell whose the work is, but for the list of processes: ask before the own work begins, and
utilisation and memory are others'.
"""

import subprocess
from collections.abc import Iterable
from typing import Any

import psutil

TIMEOUT_S = 5.0
_MIB = 1024 * 1024


def foreign_device_load(own_pids: Iterable[int]) -> dict[str, Any] | None:
    """Asks nvidia-smi, which takes a fraction of a second.

    Args:
        own_pids: processes that are ours, workers and all.

    Returns:
        utilisation: share of the last second or less in which some program ran on the busiest
            device, ours included.
        memory_used_bytes: on all devices together, ours included.
        foreign_processes: how many processes other than ours compute on the devices.

        Each is None where the tool does not say; all of it is None without the tool or where it
        fails.
    """
    devices = _query("gpu=utilization.gpu,memory.used")
    if devices is None:
        return None
    columns = [[_number(cell) for cell in line.split(",")] for line in devices]
    if not columns or any(len(cells) != 2 for cells in columns):
        return None
    busy = [cells[0] for cells in columns if cells[0] is not None]
    used = [cells[1] for cells in columns if cells[1] is not None]
    return {
        "utilisation": max(busy) / 100 if busy else None,
        "memory_used_bytes": sum(used) * _MIB if used else None,
        "foreign_processes": _foreign(_query("compute-apps=pid"), set(own_pids)),
    }


def _foreign(lines: list[str] | None, own_pids: set[int]) -> int | None:
    """A number that no process here has comes from outside a container: such numbers cannot be told from our own."""
    pids = [_number(line) for line in lines or ()]
    known = [pid for pid in pids if pid is not None]
    if lines is None or len(known) < len(pids) or not all(psutil.pid_exists(pid) for pid in known):
        return None
    return len(set(known) - own_pids)


def _query(what: str) -> list[str] | None:
    command = ["nvidia-smi", f"--query-{what}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _number(cell: str) -> int | None:
    """None for `[N/A]` and the like."""
    try:
        return int(cell)
    except ValueError:
        return None
