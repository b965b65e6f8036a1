"""Peak memory of this process and of its device, read inside the worker."""

import re
from pathlib import Path

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # proc(5): "reset the peak resident set size to the process's current value"


def reset_host_peak() -> bool:
    """Let `host_peak_rss_bytes` count from now on; return false where the system cannot.

    Only Linux can.
    """
    try:
        # Else the peak of loading and compiling would hide that of the trials.
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def host_peak_rss_bytes() -> int | None:
    """Return the most that was resident since the start or the last reset; null off Linux."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    if not found:
        return None
    return int(found[1]) * 1024


def device_peak_bytes() -> tuple[int | None, str | None]:
    """Return the most that was allocated on the first device since the process began.

    Returns:
        The bytes, or null and why they are not known.
    """
    import jax

    device = jax.local_devices()[0]
    # The allocator's own account: memory that it holds in reserve does not count.
    stats = device.memory_stats()
    if not stats or "peak_bytes_in_use" not in stats:
        return None, f"the {device.platform} backend keeps no account of device memory"
    return int(stats["peak_bytes_in_use"]), None
