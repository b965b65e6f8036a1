"""One arm inside a worker: loaded, warmed, answering, timed. The workload says what a call is; this says when."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.caches import Cache
from jaxgen.checkpoints.restore import Loaded
from jaxgen.checkpoints.restore import load as load_weights
from jaxgen.engine.engine import Engine
from jaxgen.engine.ledger import Ledger, Window
from jaxgen.spec.run import Run
from jaxgen.workloads import generate
from jaxgen.workloads.prompts import read
from jaxgen.workloads.text import Codec

Progress = Callable[[str, int, int], None]


class LoadedArm:
    """The state of one arm.

    Args:
        run: its spec.
        ledger: the process's.
        others: arms loaded before; equal weights are shared with them instead of loaded twice.
        progress: told of each tensor as (stage, done, total).
    """

    def __init__(self, run: Run, *, ledger: Ledger, others: Mapping[str, "LoadedArm"], progress: Progress):
        start = time.perf_counter()
        self.run = run
        self._ledger = ledger
        self._twin = next((arm for arm in others.values() if _same_weights(arm.run, run)), None)
        loaded = (
            self._twin.loaded
            if self._twin
            else load_weights(run.model, dtype=run.dtype.weights.value, progress=progress)
        )
        self._sharing: list[LoadedArm] = []
        if self._twin is not None:
            self._twin._sharing.append(self)
        self.loaded: Loaded = dataclasses.replace(loaded, leaves=())  # the engine alone holds them, and may move them
        architecture = loaded.structure.architecture
        self._codec = Codec(loaded.tokenizer, vocab_size=architecture.vocab_size, random=loaded.random)
        self._prompts = read(run.prompts, self._codec)
        self.engine = Engine(run, loaded.structure, self._twin.engine.leaves if self._twin else loaded.leaves)
        self._batches = self.engine.batches([prompt.tokens for prompt in self._prompts])
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
            "prompts": [list(prompt.tokens) for prompt in self._prompts],
            "kv_cache_bytes": _kv_cache_bytes(self.engine.empty_cache(self._batches[0])),
            "metrics": generate.METRICS,
        }

    def prepare(self) -> dict[str, Any]:
        """Warm-up calls, by default with the trials' own batches; what the first one compiled, in seconds.

        Returns:
            `trace_s`, `lower_s`, `compile_s` of all warm-up calls, `warmup_s` of the whole, persistent-cache hits and
            misses. Trace times of nested functions are counted once for themselves and once in their callers.
        """
        short = self.run.measure.warmup_tokens
        prompts = [prompt.tokens for prompt in self._prompts]
        batches = self._batches if short is None else self.engine.batches(prompts, new_tokens=short)
        mark, start = self._ledger.mark(), time.perf_counter()
        for _ in range(self.run.measure.warmup):
            generate.call(self.engine, batches)
        window = self._ledger.since(mark)
        return {**_startup(window), "warmup_s": time.perf_counter() - start}

    def outputs(self) -> dict[str, Any]:
        """Answer every prompt once; `call_s` is how long that took, for planning the trials."""
        start = time.perf_counter()
        timed = generate.call(self.engine, self._batches)
        call_s = time.perf_counter() - start
        return {"rows": generate.outputs(self._batches, timed, self._prompts, self._codec), "call_s": call_s}

    def place(self) -> None:
        """Move the weights to fresh buffers; of arms that share them, the first moves them for all."""
        if self._twin is not None:
            return
        for arm in self._sharing:
            arm.engine.leaves = ()
        self.engine.place()
        for arm in self._sharing:
            arm.engine.leaves = self.engine.leaves

    def trial(self, repeats: int) -> dict[str, Any]:
        """`repeats` calls as one trial: metrics, compile events, and the tokens of the last call for checking."""
        mark = self._ledger.mark()
        timed = [each for _ in range(repeats) for each in generate.call(self.engine, self._batches)]
        window = self._ledger.since(mark)
        last = timed[-len(self._batches) :]
        rows = generate.outputs(self._batches, last, self._prompts, self._codec)
        return {
            "metrics": generate.metrics(timed),
            "events": window.events,
            "functions": window.functions,
            "tokens": [row["tokens"] for row in rows],
        }

    def logprobs(self, tokens: list[int], candidates: list[int]) -> list[float]:
        """The arm's log-probabilities of `candidates` as the token after `tokens`."""
        logprobs = self.engine.next_logprobs(tokens)
        return [float(logprobs[token]) for token in candidates]


def _same_weights(one: Run, other: Run) -> bool:
    return one.model == other.model and one.dtype.weights == other.dtype.weights


def _startup(window: Window) -> dict[str, Any]:
    return {
        "trace_s": window.seconds("trace"),
        "lower_s": window.seconds("lower"),
        "compile_s": window.seconds("compile"),
        "persistent_cache_hits": window.count("hit"),
        "persistent_cache_misses": window.count("miss"),
    }


def _kv_cache_bytes(empty: Cache) -> int | None:
    """Bytes of the keys and values; null for a cache that begins without slots and grows."""
    arrays = [leaf for leaf in jax.tree.leaves(empty) if jnp.ndim(leaf) == 4]
    nbytes = sum(np.dtype(leaf.dtype).itemsize * leaf.size for leaf in arrays)
    return None if arrays and not nbytes else nbytes
