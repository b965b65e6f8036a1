"""The compile ledger: every trace, lowering and backend compile of this process, by function.

It listens to `jax.monitoring`.
"""

import collections
import dataclasses
import math
import time

import jax

_KINDS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "compile",
}
_HIT, _MISS = (
    "/jax/compilation_cache/cache_hits",
    "/jax/compilation_cache/cache_misses",
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One event.

    Attributes:
        kind: trace, lower, compile, hit or miss.
        function: its name.
        seconds: how long it took.
        ended_s: when it ended, by `time.perf_counter`.
    """

    kind: str
    function: str
    seconds: float
    ended_s: float


@dataclasses.dataclass(frozen=True)
class Window:
    """The events between two moments."""

    entries: tuple[Entry, ...]

    @property
    def events(self) -> int:
        """Traces, lowerings and backend compiles; one from the persistent cache does not count."""
        # jax reports a backend compile for a program out of the persistent cache as well.
        return (
            self.count("trace")
            + self.count("lower")
            + max(self.count("compile") - self.count("hit"), 0)
        )

    @property
    def functions(self) -> dict[str, int]:
        """How often each function was compiled by the backend, persistent-cache hits included."""
        return dict(
            collections.Counter(entry.function for entry in self.entries if entry.kind == "compile")
        )

    def count(self, kind: str) -> int:
        """How many events of one kind."""
        return sum(entry.kind == kind for entry in self.entries)

    def seconds(self, kind: str) -> float:
        """The time in which events of one kind were under way."""
        # What is traced inside another trace is part of its time, and does not count again.
        spans = sorted(
            # An event comes at its end: when it began follows from how long it took.
            (entry.ended_s - entry.seconds, entry.ended_s)
            for entry in self.entries
            if entry.kind == kind
        )
        total, until = 0.0, -math.inf
        # Spans overlap where one trace runs inside another: their union counts.
        for began, ended in spans:
            total += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return total


class Ledger:
    """Listens from its construction on. One per process: listeners cannot belong to an arm.

    Example:
        >>> ledger = Ledger()
        >>> mark = ledger.mark()
        >>> result = jitted(x)
        >>> ledger.since(mark).events > 0
        True
    """

    def __init__(self):
        self._entries: list[Entry] = []
        # Public listeners: they hear every trace and compile of the process, whoever starts it.
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)
        jax.monitoring.register_event_listener(self._on_event)

    def mark(self) -> int:
        """This moment, for `since`."""
        return len(self._entries)

    def since(self, mark: int) -> Window:
        """What happened after `mark`."""
        return Window(tuple(self._entries[mark:]))

    def close(self) -> None:
        """Stop listening."""
        jax.monitoring.unregister_event_duration_listener(self._on_duration)
        jax.monitoring.unregister_event_listener(self._on_event)

    def _on_duration(self, event: str, duration_secs: float, **details) -> None:
        # Every other event of jax is none of the ledger's business.
        if event in _KINDS:
            name = str(details.get("fun_name", "unknown"))
            self._entries.append(
                Entry(
                    _KINDS[event],
                    _bare(name),
                    duration_secs,
                    time.perf_counter(),
                )
            )

    def _on_event(self, event: str, **details) -> None:
        del details
        if event in (_HIT, _MISS):
            self._entries.append(
                Entry(
                    "hit" if event == _HIT else "miss",
                    "",
                    0.0,
                    time.perf_counter(),
                )
            )


def _bare(name: str) -> str:
    """`jit(step)` and `step` are one function."""
    if name.startswith("jit("):
        return name.removeprefix("jit(").removesuffix(")")
    return name
