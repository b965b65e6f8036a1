"""Peak memory of this process and of its device. Runs in the worker; jax is imported where the device is asked."""

import re
from pathlib import Path

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # proc(5): "reset the peak resident set size to the process's current value"


def reset_host_peak() -> bool:
    """Make now the moment from which `host_peak_rss_bytes` counts; false where the system cannot (not Linux)."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def host_peak_rss_bytes() -> int | None:
    """The most that was resident since the process began or since the last reset; null off Linux."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def device_peak_bytes() -> tuple[int | None, str | None]:
    """The most that was allocated on the first device since the process began; else null, and why."""
    import jax

    device = jax.local_devices()[0]
    stats = device.memory_stats()
    if not stats or "peak_bytes_in_use" not in stats:
        return None, f"the {device.platform} backend keeps no account of device memory"
    return int(stats["peak_bytes_in_use"]), None
