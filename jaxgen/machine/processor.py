"""What kind of processor this is and how it is set up, as Linux tells it; null where it does not.

All of it can move a time without a word of any program: a governor that slows the clock down, a
sibling thread on the same core, large pages, and where the kernel puts a process in memory.
"""

import os
from pathlib import Path
from typing import Any

from jaxgen.machine import cgroup

ROOT = Path("/")
_CPU = "sys/devices/system/cpu"
_CPUINFO = {
    "cpu family": "family",
    "model": "model",
    "stepping": "stepping",
    "microcode": "microcode",
}
SURELY_MEMORY_BYTES = 512 * 2**20
"""No accelerator's cache is as large; how large it is, nobody tells."""


def facts() -> dict[str, Any]:
    """Return the processor's kind and its settings, as plain data; null is not known.

    Returns:
        family, model, stepping, microcode: as the processor names itself, texts.
        cache_bytes: {"L1d": ..., "L2": ..., "L3": ...} of the first core.
        governor: how its clock is chosen, such as `performance`.
        turbo: whether it may run faster than its nominal clock.
        smt: whether two threads share a core: `on`, `off`, `notsupported`, ...
        transparent_huge_pages: `always`, `madvise` or `never`.
        cpu_limit: how many cores' time the container may use.
        affinity: the cores that this process may use.
        python_hash_seed: PYTHONHASHSEED; null is random.
        address_space_randomisation: 0 is none, 2 is all.
    """
    return {
        **_identity(),
        "cache_bytes": cache_bytes() or None,
        "governor": _word(f"{_CPU}/cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(),
        "smt": _word(f"{_CPU}/smt/control"),
        "transparent_huge_pages": _chosen(_word("sys/kernel/mm/transparent_hugepage/enabled")),
        "cpu_limit": cgroup.cpu_limit(),
        "affinity": _affinity(),
        "python_hash_seed": os.environ.get("PYTHONHASHSEED"),
        "address_space_randomisation": _number(_word("proc/sys/kernel/randomize_va_space")),
    }


def cache_bytes() -> dict[str, int]:
    """Return the sizes of the first core's caches for data: `L1d`, `L2`, `L3`; those known."""
    sizes = {}
    for folder in sorted((ROOT / _CPU / "cpu0/cache").glob("index*")):
        level, kind = _text(folder / "level"), _text(folder / "type")
        size = _size(_text(folder / "size"))
        if kind == "Instruction" or not level or size is None:
            continue
        name = f"L{level}d" if kind == "Data" else f"L{level}"
        sizes[name] = size
    return sizes


def level_of(nbytes: float, *, platform: str) -> str | None:
    """Return where so many bytes are read from, over and over: `L1d`, `L2`, `L3` or `memory`.

    Args:
        nbytes: the working set.
        platform: of jax; only of a CPU are the caches known.

    Returns:
        The smallest cache that holds them, or null where that is not known.
    """
    if platform != "cpu":
        return "memory" if nbytes >= SURELY_MEMORY_BYTES else None
    sizes = cache_bytes()
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        if nbytes < size:
            return name
    # Beyond the second level it may be memory, or a third level that the system hides.
    return "memory" if "L3" in sizes else None


def _identity() -> dict[str, str | None]:
    identity: dict[str, str | None] = dict.fromkeys(_CPUINFO.values())
    for line in _text(ROOT / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        key = _CPUINFO.get(name.strip())
        # Of the first core: all of a machine are alike.
        if key is not None and identity[key] is None:
            identity[key] = value.strip()
    return identity


def _turbo() -> bool | None:
    # Intel's driver has a switch that turns it off, the others have one that turns it on.
    off = _word(f"{_CPU}/intel_pstate/no_turbo")
    if off in ("0", "1"):
        return off == "0"
    on = _word(f"{_CPU}/cpufreq/boost")
    if on in ("0", "1"):
        return on == "1"
    return None


def _affinity() -> list[int] | None:
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return None


def _chosen(text: str | None) -> str | None:
    """Return the word in brackets: of `always [madvise] never` it is `madvise`."""
    if text is None or "[" not in text:
        return None
    return text.partition("[")[2].partition("]")[0]


def _size(text: str) -> int | None:
    """Read a size such as `32K` or `32768K`, in bytes."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    number = _number(text.rstrip("KMG"))
    if number is None:
        return None
    return number * units.get(text[-1:], 1)


def _number(text: str | None) -> int | None:
    if text is None or not text.isdigit():
        return None
    return int(text)


def _word(path: str) -> str | None:
    return _text(ROOT / path) or None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
