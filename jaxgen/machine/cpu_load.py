"""How busy the machine was with other programs while an arm was measured.

The parent takes a snapshot before and after the trials; the share of foreign CPU time between the
two says how far the figures can be trusted.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from jaxgen.machine import cgroup

PROC_STAT = Path("/proc/stat")


def snapshot(processes: Sequence[psutil.Process] | None = None) -> dict[str, Any]:
    """Read the CPU clocks of the machine, and of this process with all that it started.

    Args:
        processes: those that are this run's; null looks for them, which takes milliseconds.

    Returns:
        load_average: over 1, 5 and 15 minutes, or None where the system has none.
        machine_cpu_s: CPU seconds that the cores which this process may use could have given since
            the start of the machine; None off Linux.
        busy_cpu_s: those that some program used, a hypervisor's other guests included (steal); None
            off Linux.
        steal_s: those that a hypervisor gave to other guests; None off Linux.
        own_cpu_s: {process id as text: CPU seconds} of this process and its descendants. Each holds
            those of its children that have ended, so that the sum loses nothing when a worker ends.
        throttled_s: for how long a container's limit has stopped the threads of this process's
            group; None where nothing counts it.
    """
    return {
        "load_average": _load_average(),
        **_machine_cpu_s(PROC_STAT),
        "own_cpu_s": _own_cpu_s(own_processes() if processes is None else processes),
        "throttled_s": cgroup.throttled_s(),
    }


def own_processes() -> list[psutil.Process]:
    """Return this process and all of its descendants."""
    root = psutil.Process()
    return [root, *root.children(recursive=True)]


def foreign_cpu_share(before: dict[str, Any], after: dict[str, Any]) -> float | None:
    """Return the share of the processor that other programs used between two snapshots.

    Args:
        before: a snapshot.
        after: a later one.

    Returns:
        0 (nobody else) to 1 (all taken), or None where it cannot be known. The kernel counts in
        ticks of some 10 ms, so that a window of 0.2 s is good to about 5 % of one core.
    """
    available_s, foreign_s = foreign_cpu_s(before, after)
    return share_of(available_s, foreign_s)


def share_of(available_s: float | None, foreign_s: float | None) -> float | None:
    """Return foreign CPU seconds as a share of those that were available, from 0 to 1."""
    if not available_s or foreign_s is None:
        return None
    # Kernel ticks and process times are rounded apart, so that the difference may fall below 0.
    return min(1.0, max(0.0, foreign_s / available_s))


def foreign_cpu_s(
    before: dict[str, Any], after: dict[str, Any]
) -> tuple[float | None, float | None]:
    """Return the CPU seconds that this run could have had, and those that others took of them.

    In a container with a limit of 4 of 64 cores, others that use 50 cores take nothing from it:
    what they use counts where they leave less than the limit.

    Returns:
        Both None where they cannot be known; the second may be a little below 0 by rounding.
    """
    if before["busy_cpu_s"] is None or after["busy_cpu_s"] is None:
        return None, None
    # With 4 cores and 10 s: 40 s available, 22 s busy, 20 s of them own: others took 2 s, or 5 %.
    available_s = after["machine_cpu_s"] - before["machine_cpu_s"]
    if available_s <= 0:
        return None, None
    # A process that is in one snapshot only had no CPU time yet, or has left it to its parent.
    own_s = sum(after["own_cpu_s"].values()) - sum(before["own_cpu_s"].values())
    foreign_s = after["busy_cpu_s"] - before["busy_cpu_s"] - own_s
    limit = cgroup.cpu_limit()
    cores = len(_allowed_cpus()) or 1
    if limit is None or limit >= cores:
        return available_s, foreign_s
    # The time of the cores that the limit leaves to others in any case is not taken from this run.
    allowed_s = available_s * limit / cores
    return allowed_s, max(0.0, foreign_s - (available_s - allowed_s))


def _machine_cpu_s(stat: Path) -> dict[str, float | None]:
    """Return all, busy and stolen CPU seconds of the cores that this process may use.

    /proc/stat has a line for all cores, `cpu user nice system idle iowait irq softirq steal ...`,
    and then one for each; guest time is in user already (proc_stat(5)); idle and iowait are the
    time that nobody used.
    """
    unknown = {"machine_cpu_s": None, "busy_cpu_s": None, "steal_s": None}
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return {**unknown}
    of_core = {}
    for line in lines:
        name, *fields = line.split()
        if name.startswith("cpu"):
            of_core[name] = [int(field) for field in fields[:8]]
    # In a container of 4 cores on a machine of 64, the other 60 are none of its business.
    counted = [of_core[f"cpu{number}"] for number in _allowed_cpus() if f"cpu{number}" in of_core]
    if len(counted) < len(_allowed_cpus()) or not counted:
        counted = [of_core["cpu"]]
    total, idle, steal = 0, 0, 0
    for ticks in counted:
        total += sum(ticks)
        idle += ticks[3] + ticks[4]
        steal += ticks[7]
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return {
        "machine_cpu_s": total * tick_s,
        "busy_cpu_s": (total - idle) * tick_s,
        "steal_s": steal * tick_s,
    }


def _allowed_cpus() -> list[int]:
    """Return the numbers of the cores that this process may use; none where that is not known."""
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return []


def _own_cpu_s(processes: Sequence[psutil.Process]) -> dict[str, float]:
    """Return the CPU seconds of each process that still runs."""
    own = {}
    for process in processes:
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
