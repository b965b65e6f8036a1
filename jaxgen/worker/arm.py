"""One arm inside a worker: its weights, its programs, and the calls that are timed.

The workload says what a call is; this module says when it is made and what is noted about it.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

from jaxgen.checkpoints.restore import Loaded
from jaxgen.engine.engine import Engine
from jaxgen.engine.ledger import Ledger, Window
from jaxgen.engine.next_token import next_logprobs
from jaxgen.models.sharding import device_bytes
from jaxgen.specs.fault import Fault
from jaxgen.specs.run import Run
from jaxgen.worker import program_cache
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.protocol import OutputRow, Workload


def _nothing() -> None:
    """Take no notice of the end of the calls."""


class LoadedArm:
    """An arm that is loaded; `worker.loading.load_arm` makes it.

    Args:
        run: its spec.
        ledger: counts what this process compiles.
        loaded: where the weights came from, without the weights.
        engine: the weights and the programs.
        workload: what a call is.
        faults: what is wrong with the arm on purpose.
        owner: the arm loaded before whose weights this one uses; null where it has its own.
        load_s: how long loading took, in seconds.

    Attributes:
        outputs_by_case: what `outputs` wrote, by the number of the case.
    """

    def __init__(
        self,
        run: Run,
        *,
        ledger: Ledger,
        loaded: Loaded,
        engine: Engine,
        workload: Workload,
        faults: Faults,
        owner: "LoadedArm | None",
        load_s: float,
    ):
        self.run = run
        self.loaded = loaded
        self.engine = engine
        self.workload = workload
        self.owner = owner
        self.sharers: list[LoadedArm] = []
        self.outputs_by_case: dict[int, list[OutputRow]] = {}
        self._ledger = ledger
        self._faults = faults
        self._load_s = load_s

    def facts(self) -> dict[str, Any]:
        """Return what the parent records of a loaded arm."""
        loaded = self.loaded
        return {
            "load_s": self._load_s,
            "weights": {
                "source": loaded.source,
                "fingerprint": loaded.fingerprint,
                "random": loaded.random,
                "bytes": loaded.nbytes,
            },
            "architecture": loaded.structure.architecture.to_plain(),
            "tokenizer": loaded.tokenizer is not None,
            "questions": self.workload.inputs(),
            "kv_cache_bytes": self.workload.kv_cache_bytes,
            "mesh": self._mesh_facts(),
            "metrics": self.workload.metrics,
            "cases": [dict(case.params) for case in self.workload.cases],
        }

    def prepare(
        self,
        case: int,
        *,
        warmup: int = 1,
        warmup_tokens: int | None = None,
        leave_in: str | None = None,
        find_in: str | None = None,
    ) -> dict[str, Any]:
        """Make the warm-up calls of a case.

        Args:
            case: the number of the case.
            warmup: how many calls.
            warmup_tokens: new tokens of each; null takes the trials' own lengths.
            leave_in: gets the programs, once the calls are timed; null keeps none.
            find_in: has the programs of an earlier process; null compiles all.

        Returns:
            `calls`, one for each warm-up call: `{seconds, trace_s, lower_s, compile_s, events,
            functions, persistent_cache_hits, persistent_cache_misses}`. What is traced inside
            another trace is counted once.
        """
        with program_cache.leaving(leave_in), program_cache.finding(find_in):
            calls = [self._warm_up(case, new_tokens=warmup_tokens) for _ in range(warmup)]
        return {"calls": calls}

    def precompile(self, case: int) -> dict[str, Any]:
        """Make one warm-up call with the trials' own lengths; return one of `prepare`'s `calls`."""
        return self._warm_up(case, new_tokens=None)

    def outputs(self, case: int) -> dict[str, Any]:
        """Answer every prompt or item of a case once, for the comparison of the arms.

        Returns:
            `rows`, the outputs; `call_s`, the seconds it took, for planning the trials; `call`,
            what it compiled, as in `prepare`; `facts` of the workload.
        """
        mark, start = self._ledger.mark(), time.perf_counter()
        # By the true clock, not the arm's: planning must not follow a clock that is wrong on
        # purpose.
        call = self.workload.call(case)
        call_s = time.perf_counter() - start
        window = self._ledger.since(mark)
        # What is warm by now stays for good. The garbage collector need not look through it before
        # every trial, which would take as long as the trial.
        gc.collect()
        gc.freeze()
        rows = self.workload.outputs(case, call)
        self.outputs_by_case[case] = rows
        return {
            "rows": rows,
            "call_s": call_s,
            "call": _compile_facts(window, seconds=call_s),
            "facts": self.workload.facts(case, call, rows),
        }

    def move_to_new_buffers(self) -> None:
        """Copy the weights into fresh buffers: a new draw of their place in memory.

        Of arms that share weights, the owner moves them for all.
        """
        if self.owner is not None:
            return
        for arm in self.sharers:
            arm.engine.leaves = ()  # so that the old buffers are freed, not held twice
        self.engine.move_to_new_buffers()
        for arm in self.sharers:
            arm.engine.leaves = self.engine.leaves

    def trial(
        self, case: int, repeats: int, *, on_done: Callable[[], None] = _nothing
    ) -> dict[str, Any]:
        """Make one trial.

        Args:
            case: the number of the case.
            repeats: calls in the trial.
            on_done: called when the last call is over, before anything is made of the outputs.

        Returns:
            `metrics` of the trial; `compile_events` and `functions` compiled in it; `answers` of
            the last call, tokens or scores alone; `call_s`, the seconds of each call by the arm's
            clock; `total_s`, those of the whole trial, and `beside_s`, those of it in which no
            call's clock ran, both by the true clock.
        """
        start_s = time.perf_counter()
        gc.collect()
        gc.disable()  # a collection would land in one arm's time or in the other's, by chance
        try:
            mark = self._ledger.mark()
            # Each call has a clock of its own around it; what is between two calls counts in none.
            calls = [self.workload.call(case) for _ in range(repeats)]
            window = self._ledger.since(mark)
            total_s = time.perf_counter() - start_s
            on_done()
        finally:
            gc.enable()
        # Behind the ledger's window: making text of tokens is no part of a trial.
        rows = self.workload.outputs(case, calls[-1])
        # What this trial left is no part of the next one's request.
        gc.collect()
        return {
            "metrics": self.workload.measured(calls),
            "compile_events": window.events,
            "functions": window.functions,
            "answers": [row[self.run.workload.output_key] for row in rows],
            "call_s": [self.workload.call_s(call) for call in calls],
            # By the true clock, which the parent holds its own against.
            "total_s": total_s,
            "beside_s": total_s - sum(self.workload.inside_s(call) for call in calls),
        }

    def inject_fault(self, fault: dict[str, Any]) -> None:
        """Change what is wrong with the arm from now on; the weights stay as they are."""
        # The workload holds the same `Faults`, so that its next call has the new one.
        self._faults.change(Fault(**fault))

    def logprobs(self, tokens: list[int], candidates: list[int]) -> list[float]:
        """Return the log-probabilities of `candidates` as the token after `tokens`."""
        logprobs = next_logprobs(self.engine, tokens)
        return [float(logprobs[token]) for token in candidates]

    def _mesh_facts(self) -> dict[str, Any] | None:
        """Return what the mesh makes of the model; null on a single device."""
        layout = self.engine.layout
        if layout is None:
            return None
        return {
            **layout.mesh.shape,
            "cut": {axis: layout.cut.of(axis) for axis in layout.axes},
            "reasons": list(layout.cut.reasons),
            # Asked of the arrays, not planned: what really lies on a device.
            "weights_bytes_per_device": device_bytes(self.engine.leaves),
        }

    def _warm_up(self, case: int, *, new_tokens: int | None) -> dict[str, Any]:
        """Make one warm-up call; return what it compiled."""
        mark, start = self._ledger.mark(), time.perf_counter()
        self.workload.warm_up(case, new_tokens=new_tokens)
        seconds = time.perf_counter() - start
        return _compile_facts(self._ledger.since(mark), seconds=seconds)


def _compile_facts(window: Window, *, seconds: float) -> dict[str, Any]:
    """Return what a call compiled and how long that took; `seconds` is the whole call."""
    return {
        "seconds": seconds,
        "trace_s": window.seconds("trace"),
        "lower_s": window.seconds("lower"),
        "compile_s": window.seconds("compile"),
        "events": window.events,
        "functions": window.functions,
        "persistent_cache_hits": window.count("hit"),
        "persistent_cache_misses": window.count("miss"),
    }
