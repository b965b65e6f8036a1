"""Where one call's time goes: the operations that took longest, by jax's own profiler.

Runs in the worker, outside any trial: a profiled call is slower than a measured one. Operations
bear the names of the compiled program's instructions, as they stand in the text that
`engine.hlo.inspection.dump` writes.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

TOP = 10
NO_PYTHON = 0  # its events would be most of the file, and slow the call


@dataclasses.dataclass(frozen=True)
class Event:
    """One execution of one operation of a compiled program, in nanoseconds of the trace."""

    program: str
    name: str
    start_ns: float
    duration_ns: float

    @property
    def end_ns(self) -> float:
        """When it was done."""
        return self.start_ns + self.duration_ns


def record(
    call: Callable[[], Any], folder: Path, *, meanings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Trace one call, and rank the operations that the device ran.

    Args:
        call: blocks until its outputs are ready.
        folder: takes the trace, for TensorBoard or xprof too.
        meanings: what instructions are for, as `engine.hlo.inspection.meanings` has it.

    Returns:
        `operations`, at most ten, longest first: {name, program, meaning, count, total_s, share},
        the share being of all operations' time together; `operations_s`, that time; `trace`, the
        trace's file below the folder; `reason`, why there are no operations, or null.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = NO_PYTHON
    # An earlier trace in the folder, of a run into the same place, must not pass for this one's.
    before = set(folder.rglob("*.xplane.pb"))
    with jax.profiler.trace(folder, profiler_options=options):
        call()
    traces = sorted(set(folder.rglob("*.xplane.pb")) - before)
    # A profile is an extra: a backend that writes none makes a reason, not a failed run.
    if not traces:
        return {
            "operations": [],
            "operations_s": None,
            "trace": None,
            "reason": "the profiler wrote no trace",
        }
    events = [event for line in _lines(traces[-1]) for event in innermost(line)]
    reason = None if events else "the trace names no operation of a compiled program"
    total_s = sum(event.duration_ns for event in events) / 1e9 if events else None
    trace = traces[-1].relative_to(folder).as_posix()
    return {
        "operations": rank(events, meanings or {}),
        "operations_s": total_s,
        "trace": trace,
        "reason": reason,
    }


def rank(events: Iterable[Event], meanings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the operations with the most time in all, as `record` does."""
    spent_ns: dict[tuple[str, str], list[float]] = {}
    for event in events:
        spent_ns.setdefault((event.program, event.name), []).append(event.duration_ns)
    all_ns = sum(map(sum, spent_ns.values()))
    longest = sorted(spent_ns.items(), key=lambda item: -sum(item[1]))[:TOP]
    ranked = []
    for (program, name), durations in longest:
        total_ns = sum(durations)
        operation = {
            "name": name,
            "program": program,
            "meaning": meanings.get(f"{program}/{name}"),
            "count": len(durations),
            "total_s": total_ns / 1e9,
            "share": total_ns / all_ns if all_ns else None,
        }
        ranked.append(operation)
    return ranked


def innermost(events: Iterable[Event]) -> list[Event]:
    """Return the events of one line that contain no other.

    A `while` or a `call` lasts as long as all that it runs. Of a loop from 0 to 10 around a product
    from 1 to 4 and a sum from 5 to 6, the product and the sum are left.
    """
    # Of two that start together the longer one first: it is the one around the other.
    ordered = sorted(events, key=lambda event: (event.start_ns, -event.duration_ns))
    around: set[int] = set()
    still_open: list[int] = []
    for number, event in enumerate(ordered):
        while still_open and ordered[still_open[-1]].end_ns <= event.start_ns:
            still_open.pop()
        if still_open and event.end_ns <= ordered[still_open[-1]].end_ns:
            # Time of a loop and of its body would count twice, and the shares would not sum to 1.
            around.add(still_open[-1])
        still_open.append(number)
    return [event for number, event in enumerate(ordered) if number not in around]


def _lines(trace: Path) -> Iterator[list[Event]]:
    """Give the operations of each line of the device.

    These are a GPU's streams, or on CPU the threads that run programs.
    """
    planes = list(jax.profiler.ProfileData.from_file(str(trace)).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    for plane in devices or planes:
        lines = list(plane.lines)
        # Lines of other names repeat the streams, summed up.
        streams = [line for line in lines if line.name.startswith("Stream")]
        for line in streams or lines:
            yield list(_operations(line))


def _operations(line) -> Iterator[Event]:
    for event in line.events:
        stats = dict(event.stats)
        if "hlo_op" in stats:
            module = str(stats.get("hlo_module", ""))
            yield Event(
                program=module.removeprefix("jit_"),
                name=str(stats["hlo_op"]),
                start_ns=float(event.start_ns),
                duration_ns=float(event.duration_ns),
            )
