"""How busy the machine was with other programs while an arm was measured.

The parent takes a snapshot before and after the trials; the share of foreign CPU time between the
two says how far the figures can be trusted.
"""

import os
from pathlib import Path
from typing import Any

import psutil

PROC_STAT = Path("/proc/stat")


def snapshot() -> dict[str, Any]:
    """Read the CPU clocks of the machine, and of this process with all that it started.

    Returns:
        load_average: over 1, 5 and 15 minutes, or None where the system has none.
        machine_cpu_s: CPU seconds that all cores could have given since the start of the machine;
            None off Linux.
        busy_cpu_s: those that some program used, a hypervisor's other guests included (steal); None
            off Linux.
        own_cpu_s: {process id as text: CPU seconds} of this process and its descendants. Each holds
            those of its children that have ended, so that the sum loses nothing when a worker ends.
    """
    machine_cpu_s, busy_cpu_s = _machine_cpu_s(PROC_STAT)
    return {
        "load_average": _load_average(),
        "machine_cpu_s": machine_cpu_s,
        "busy_cpu_s": busy_cpu_s,
        "own_cpu_s": _own_cpu_s(),
    }


def foreign_cpu_share(before: dict[str, Any], after: dict[str, Any]) -> float | None:
    """Return the share of all cores' time that other programs used between two snapshots.

    Args:
        before: a snapshot.
        after: a later one.

    Returns:
        0 (nobody else) to 1 (all cores taken), or None where it cannot be known. The kernel counts
        in ticks of some 10 ms, so that a window of 0.2 s is good to about 5 % of one core.
    """
    if before["busy_cpu_s"] is None or after["busy_cpu_s"] is None:
        return None
    # With 4 cores and 10 s: 40 s available, 22 s busy, 20 s of them own: others took 2 s, or 5 %.
    available_s = after["machine_cpu_s"] - before["machine_cpu_s"]
    if available_s <= 0:
        return None
    # A process that is in one snapshot only had no CPU time yet, or has left it to its parent.
    own_s = sum(after["own_cpu_s"].values()) - sum(before["own_cpu_s"].values())
    foreign_s = after["busy_cpu_s"] - before["busy_cpu_s"] - own_s
    # Kernel ticks and process times are rounded apart, so that the difference may fall below 0.
    return min(1.0, max(0.0, foreign_s / available_s))


def _machine_cpu_s(stat: Path) -> tuple[float | None, float | None]:
    """Return all and busy CPU seconds of the first line of /proc/stat.

    It reads `cpu user nice system idle iowait irq softirq steal guest ...`; guest time is in user
    already (proc_stat(5)); idle and iowait are the time that nobody used.
    """
    try:
        first_line = stat.read_text().split("\n", 1)[0]
    except OSError:
        return None, None
    ticks = [int(field) for field in first_line.split()[1:9]]
    idle = ticks[3] + ticks[4]
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return sum(ticks) * tick_s, (sum(ticks) - idle) * tick_s


def _own_cpu_s() -> dict[str, float]:
    """Return the CPU seconds of this process and of each descendant that still runs."""
    root = psutil.Process()
    own = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        of_children = times.children_user + times.children_system
        own[str(process.pid)] = times.user + times.system + of_children
    return own


def _load_average() -> list[float] | None:
    try:
        return list(os.getloadavg())
    except (AttributeError, OSError):
        return None
