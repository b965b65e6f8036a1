"""One arm inside a worker: loaded, warmed, answering, timed. The workload says what a call is; this says when."""

import dataclasses
import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

from jaxgen.checkpoints.restore import Loaded
from jaxgen.checkpoints.restore import load as load_weights
from jaxgen.engine.engine import Engine
from jaxgen.engine.ledger import Ledger, Window
from jaxgen.engine.teacher_forcing import next_logprobs
from jaxgen.models.sharding import device_bytes, shardings_of
from jaxgen.specs.fault import Fault
from jaxgen.specs.run import Run
from jaxgen.workloads import create
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.protocol import Row

Progress = Callable[[str, int, int], None]


class LoadedArm:
    """The state of one arm.

    Args:
        run: its spec.
        ledger: the process's.
        others: arms loaded before; equal weights are shared with them instead of loaded twice.
        progress: told of each tensor as (stage, done, total).

    Attributes:
        run: its spec.
        engine: weights and programs.
        workload: what a call is.
        answered: the rows of `outputs`, by case.
    """

    def __init__(
        self, run: Run, *, ledger: Ledger, others: Mapping[str, "LoadedArm"], progress: Progress
    ):
        start = time.perf_counter()
        self.run = run
        self._ledger = ledger
        self._faults = Faults(run.fault)
        self._twin = next((arm for arm in others.values() if _same_weights(arm.run, run)), None)
        shardings = shardings_of(run.mesh)
        loaded = (
            self._twin.loaded
            if self._twin
            else load_weights(run.model, dtype=run.dtype, shardings=shardings, progress=progress)
        )
        self._sharing: list[LoadedArm] = []
        if self._twin is not None:
            self._twin._sharing.append(self)
        self.loaded: Loaded = dataclasses.replace(
            loaded, leaves=()
        )  # the engine alone holds them, and may move them
        codec = Codec(
            loaded.tokenizer,
            vocab_size=loaded.structure.architecture.vocab_size,
            random=loaded.random,
        )
        leaves = self._faults.weights(self._twin.engine.leaves if self._twin else loaded.leaves)
        self.engine = Engine(run, loaded.structure, leaves)
        self.workload = create.create(self.engine, codec, faults=self._faults)
        self.answered: dict[int, list[Row]] = {}
        self._load_s = time.perf_counter() - start

    def facts(self) -> dict[str, Any]:
        """What the parent records of a loaded arm."""
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
            "questions": self.workload.questions(),
            "kv_cache_bytes": self.workload.kv_cache_bytes,
            "mesh": self._mesh(),
            "metrics": self.workload.metrics,
            "cases": [dict(case.params) for case in self.workload.cases],
        }

    def _mesh(self) -> dict[str, Any] | None:
        """What the mesh makes of the model; null on a single device."""
        layout = self.engine.layout
        if layout is None:
            return None
        cut = {axis: layout.cut.of(axis) for axis in layout.axes}
        held = device_bytes(self.engine.leaves)
        return {
            **layout.mesh.shape,
            "cut": cut,
            "reasons": list(layout.cut.reasons),
            "weights_bytes_per_device": held,
        }

    def prepare(self, case: int, calls: int, new_tokens: int | None) -> dict[str, Any]:
        """Make warm-up calls, by default with the trials' own batches.

        Args:
            case: the number of the case.
            calls: how many.
            new_tokens: null warms up with the trials' own lengths; a number cuts the calls short.

        Returns:
            `calls`, one for each warm-up call: `{seconds, trace_s, lower_s, compile_s, events, functions,
            persistent_cache_hits, persistent_cache_misses}`. What is traced inside another trace is counted once.
        """
        return {"calls": [self._watched(case, new_tokens=new_tokens) for _ in range(calls)]}

    def precompile(self, case: int) -> dict[str, Any]:
        """One full warm-up call, watched as in `prepare`."""
        return self._watched(case, new_tokens=None)

    def outputs(self, case: int) -> dict[str, Any]:
        """Answer every question once; `call_s` is how long that took, for planning the trials.

        What is warm by now stays for good: the garbage collector need not look through it before every trial, which
        would take as long as the trial.
        """
        mark, start = self._ledger.mark(), time.perf_counter()
        answered = self.workload.call(case)
        call_s = time.perf_counter() - start
        window = self._ledger.since(mark)
        gc.collect()
        gc.freeze()
        rows = self.answered[case] = self.workload.answers(case, answered)
        return {
            "rows": rows,
            "call_s": call_s,
            "call": _compiled(window, seconds=call_s),
            "facts": self.workload.facts(case, answered, rows),
        }

    def place(self) -> None:
        """Move the weights to fresh buffers; of arms that share them, the first moves them for all."""
        if self._twin is not None:
            return
        for arm in self._sharing:
            arm.engine.leaves = ()
        self.engine.move_to_new_buffers()
        for arm in self._sharing:
            arm.engine.leaves = self.engine.leaves

    def trial(self, case: int, repeats: int) -> dict[str, Any]:
        """`repeats` calls as one trial: metrics, compile events, and the last call's answers for checking.

        The garbage collector rests meanwhile.
        """
        gc.collect()
        gc.disable()
        try:
            mark = self._ledger.mark()
            calls = [self.workload.call(case) for _ in range(repeats)]
            window = self._ledger.since(mark)
        finally:
            gc.enable()
        answers = self.workload.answers(case, calls[-1])
        return {
            "metrics": self.workload.measured(calls),
            "events": window.events,
            "functions": window.functions,
            "answers": [row.get("tokens", row.get("scores")) for row in answers],
            "call_s": [self.workload.seconds(call) for call in calls],
        }

    def sabotage(self, fault: dict[str, Any]) -> None:
        """Change what is wrong with the arm from now on; the weights stay as they are."""
        self._faults.fault = Fault(**fault)

    def logprobs(self, tokens: list[int], candidates: list[int]) -> list[float]:
        """The arm's log-probabilities of `candidates` as the token after `tokens`."""
        logprobs = next_logprobs(self.engine, tokens)
        return [float(logprobs[token]) for token in candidates]

    def _watched(self, case: int, *, new_tokens: int | None) -> dict[str, Any]:
        mark, start = self._ledger.mark(), time.perf_counter()
        self.workload.warm_up(case, new_tokens=new_tokens)
        return _compiled(self._ledger.since(mark), seconds=time.perf_counter() - start)


def _same_weights(one: Run, other: Run) -> bool:
    alike = all(getattr(one.dtype, how) == getattr(other.dtype, how) for how in ("int8", "kept"))
    return alike and (one.model, one.mesh, one.fault) == (other.model, other.mesh, other.fault)


def _compiled(window: Window, *, seconds: float) -> dict[str, Any]:
    """What a call compiled, and what that took; the whole call in `seconds`."""
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
