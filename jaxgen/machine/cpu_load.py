"""How busy the machine was with other people's work while an arm was measured.

A worker takes a snapshot before and after a window of trials; the share of foreign CPU time between
the two says how far the window can be trusted. Snapshots are plain data, fit for JSON: they cross
the pipe and stand in the result.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

PROC_STAT = Path("/proc/stat")


def snapshot(root_pid: int | None = None) -> dict[str, Any]:
    """Reads the CPU clocks of the machine and of one process's tree.

    Args:
        root_pid: the process at the root of all that is ours: a worker gives its parent, so that
            the other arm's worker does not pass for a stranger. None means the calling process.

    Returns:
        load_average: over 1, 5 and 15 minutes, or None where the system keeps none.
        machine_cpu_s: CPU seconds that all cores could have given since the start of the machine;
            None off Linux.
        busy_cpu_s: those that somebody used, a hypervisor's other guests included (steal); None off
            Linux.
        own_cpu_s: {process id as text: CPU seconds} of the root and its descendants. Each holds
            those of its children that have ended, so that the sum over the tree loses nothing when
            a worker ends.
    """
    machine_cpu_s, busy_cpu_s = _machine_cpu_s(PROC_STAT)
    return {
        "load_average": _load_average(),
        "machine_cpu_s": machine_cpu_s,
        "busy_cpu_s": busy_cpu_s,
        "own_cpu_s": _tree_cpu_s(root_pid),
    }


def foreign_cpu_share(
    before: dict[str, Any], after: dict[str, Any], own_pids: Iterable[int] | None = None
) -> float | None:
    """Says which share of all cores' time others used between two snapshots.

    Args:
        before: a snapshot.
        after: a later one.
        own_pids: the processes that are ours, of those in the snapshots; None means all of them.

    Returns:
        0 (nobody else) to 1 (all cores taken), or None where it cannot be known. The kernel counts
        in ticks of some 10 ms, so that a window of 0.2 s is good to about 5 % of one core.
    """
    if before["busy_cpu_s"] is None or after["busy_cpu_s"] is None:
        return None
    available_s = after["machine_cpu_s"] - before["machine_cpu_s"]
    if available_s <= 0:
        return None
    own_s = _sum_cpu_s(after, own_pids) - _sum_cpu_s(before, own_pids)
    foreign_s = after["busy_cpu_s"] - before["busy_cpu_s"] - own_s
    return min(1.0, max(0.0, foreign_s / available_s))


def _sum_cpu_s(taken: dict[str, Any], own_pids: Iterable[int] | None) -> float:
    """A process that is in one snapshot only had no CPU time yet, or has left it to its parent."""
    own = taken["own_cpu_s"]
    return (
        sum(own.values()) if own_pids is None else sum(own.get(str(pid), 0.0) for pid in own_pids)
    )


def _machine_cpu_s(stat: Path) -> tuple[float | None, float | None]:
    """All and busy CPU seconds of the first line, `cpu user nice system idle iowait irq softirq
    steal guest ...`.

    Guest time is in user already (proc_stat(5)); idle and iowait are the time that nobody used.
    """
    try:
        ticks = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return None, None
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return sum(ticks) * tick_s, (sum(ticks) - sum(ticks[3:5])) * tick_s


def _tree_cpu_s(root_pid: int | None) -> dict[str, float]:
    """CPU seconds of the root and each descendant; one that ends while we look is left out."""
    root = psutil.Process(root_pid)
    own = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        own[str(process.pid)] = (
            times.user + times.system + times.children_user + times.children_system
        )
    return own


def _load_average() -> list[float] | None:
    try:
        return list(os.getloadavg())
    except (AttributeError, OSError):
        return None
