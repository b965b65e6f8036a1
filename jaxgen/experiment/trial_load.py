"""What else used the processor during each trial, and how the container's limit stopped it."""

from typing import Any

from jaxgen.machine import cpu_load
from jaxgen.results.schema.trials import Surroundings


class TrialLoad:
    """Reads the machine's clocks between the trials of a block, never inside one."""

    def __init__(self):
        # Looked for once a block: it takes milliseconds, and workers stay the same in between.
        self._processes = cpu_load.own_processes()
        self._before = cpu_load.snapshot(self._processes)

    def since_last(self) -> Surroundings:
        """Return what happened since the last call, or since this object was made."""
        before, after = self._before, cpu_load.snapshot(self._processes)
        self._before = after
        available_s, foreign_s = cpu_load.foreign_cpu_s(before, after)
        return {
            "available_cpu_s": available_s,
            "foreign_cpu_s": foreign_s,
            "steal_s": _difference(before, after, "steal_s"),
            "throttled_s": _difference(before, after, "throttled_s"),
        }


def _difference(before: dict[str, Any], after: dict[str, Any], key: str) -> float | None:
    if before[key] is None or after[key] is None:
        return None
    return after[key] - before[key]
