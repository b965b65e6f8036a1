"""What a container is allowed of the processor, and how often its limit stopped it.

Linux keeps both in files of the control group, in two versions (the kernel's
Documentation/admin-guide/cgroup-v2.rst, "CPU", and Documentation/scheduler/sched-bwc.rst).
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
_MOUNT = "sys/fs/cgroup"


def cpu_limit() -> float | None:
    """Return how many processors' time this process may use; null without a limit.

    A limit of an outer group holds too, so that the smallest counts.
    """
    limits = []
    for folder in _folders():
        limit = _limit_of(folder)
        if limit is not None:
            limits.append(limit)
    return min(limits, default=None)


def throttled_s() -> float | None:
    """Return the seconds that the limit has stopped the threads of this process's group until now.

    They are summed over the processors; null where nothing is counted.
    """
    for folder in _folders():
        counts = _counts(folder / "cpu.stat")
        if "nr_throttled" not in counts:
            continue
        # Version 2 counts microseconds, version 1 nanoseconds.
        return counts.get("throttled_usec", 0) / 1e6 + counts.get("throttled_time", 0) / 1e9
    return None


def _folders() -> Iterator[Path]:
    """Give the folders of this process's group, and those around it, the innermost first."""
    mount = ROOT / _MOUNT
    for controllers, path in _groups():
        # Version 2 has one tree of groups for all controllers, whose line names none.
        names = [""] if not controllers else [",".join(controllers), "cpu", "cpu,cpuacct"]
        for name in dict.fromkeys(names):
            tree = mount / name if name else mount
            if not tree.is_dir():
                continue
            folder = tree / path.lstrip("/")
            # In a container the path may be the host's, which is not mounted here.
            inner = [folder, *folder.parents] if folder.is_dir() else [tree]
            yield from (outer for outer in inner if outer == tree or tree in outer.parents)


def _groups() -> Iterator[tuple[list[str], str]]:
    """Give the groups that limit the processor: their controllers and their path."""
    lines = _text(ROOT / "proc/self/cgroup").splitlines()
    for line in lines:
        # `4:cpu,cpuacct:/pod` of version 1, `0::/pod` of version 2.
        _number, _, rest = line.partition(":")
        named, _, path = rest.partition(":")
        controllers = [name for name in named.split(",") if name]
        if not controllers or "cpu" in controllers:
            yield controllers, path


def _limit_of(folder: Path) -> float | None:
    # `50000 100000`: half of one processor's time in each period; `max 100000`: no limit.
    words = _text(folder / "cpu.max").split()
    if not words:
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        words = [quota, _text(folder / "cpu.cfs_period_us").strip()]
    try:
        quota_us, period_us = int(words[0]), int(words[1])
    except (IndexError, ValueError):
        return None
    # Version 1 writes -1 for no limit.
    if quota_us <= 0 or period_us <= 0:
        return None
    return quota_us / period_us


def _counts(path: Path) -> dict[str, int]:
    counts = {}
    for line in _text(path).splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            counts[name] = int(value)
    return counts


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
