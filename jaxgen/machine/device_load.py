"""How busy an accelerator is before a run, so that the run can say whether it had it to itself.

Only NVIDIA's tool tells such a thing from outside a process, so that elsewhere nothing is known. It
cannot tell whose the work is: it is run before the workers start, and what it finds is others'. No
jax here.
"""

import subprocess
from typing import Any

import psutil

TIMEOUT_S = 5.0
_MIB = 1024 * 1024


def foreign_device_load() -> dict[str, Any] | None:
    """Run nvidia-smi, which takes a fraction of a second.

    Returns:
        utilisation: share of the last second or less in which some program ran on the busiest
            device.
        memory_used_bytes: on all devices together.
        foreign_processes: how many processes compute on the devices.

        Each is None where the tool does not say; all of it is None without the tool or where it
        fails.
    """
    lines = _query("gpu=utilization.gpu,memory.used")
    if not lines:
        return None
    busy, used = [], []
    for line in lines:
        cells = line.split(",")
        if len(cells) != 2:
            return None
        busy.append(_number(cells[0]))
        used.append(_number(cells[1]))
    # A device that does not say counts in neither figure; where none says, they are null.
    busy = [percent for percent in busy if percent is not None]
    used = [mebibytes for mebibytes in used if mebibytes is not None]
    return {
        "utilisation": max(busy) / 100 if busy else None,
        "memory_used_bytes": sum(used) * _MIB if used else None,
        "foreign_processes": _count_processes(_query("compute-apps=pid")),
    }


def _count_processes(lines: list[str] | None) -> int | None:
    """Count the processes of a list; None where it cannot be trusted.

    A number that no process here has comes from outside a container, where other processes may bear
    the same numbers as those in it.
    """
    if lines is None:
        return None
    pids = set()
    for line in lines:
        pid = _number(line)
        if pid is None or not psutil.pid_exists(pid):
            return None
        pids.add(pid)
    return len(pids)


def _query(what: str) -> list[str] | None:
    command = ["nvidia-smi", f"--query-{what}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            # A driver in trouble lets nvidia-smi hang, and a run must not wait for it.
            timeout=TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _number(cell: str) -> int | None:
    """Read a number; None for `[N/A]` and the like."""
    try:
        return int(cell)
    except ValueError:
        return None
