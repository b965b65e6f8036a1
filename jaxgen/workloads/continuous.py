"""Generation by continuous batching: all prompts in one call, each in the first free row."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine.continuous import Continuous, Request
from jaxgen.engine.continuous_call import Call
from jaxgen.engine.engine import Engine, Output
from jaxgen.engine.program_use import Use
from jaxgen.measure.roofline import Step
from jaxgen.workloads import cost, timing
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.protocol import Case, OutputRow
from jaxgen.workloads.timing import METRICS, Timed


@dataclasses.dataclass(frozen=True)
class TimedCall:
    """One call.

    Attributes:
        timed: its times and tokens.
        cache: facts about what its requests had of the cache.
    """

    timed: Timed
    cache: dict[str, Any]


class Serving:
    """Serves every prompt of the run; there is one case.

    Args:
        engine: the arm's.
        prompts: of the run.
        codec: of the arm's checkpoint.
        faults: what is wrong with the arm on purpose, if anything.

    Raises:
        UserError: the prompts do not fit the model or the cache.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        codec: Codec,
        *,
        faults: Faults,
    ):
        self._engine = engine
        self._prompts = list(prompts)
        self._codec = codec
        self._faults = faults
        limits = timing.limits(prompts, engine.generation.max_new_tokens)
        requests = []
        for prompt, limit in zip(prompts, limits, strict=True):
            requests.append(Request(prompt.tokens, limit))
        # Requests and programs are shared by all calls, so that a second call compiles nothing.
        self._shared = Continuous(engine, requests)
        self.metrics = METRICS
        self.cases = (Case(),)
        # Empty it is as large as full: nothing grows in it.
        self.kv_cache_bytes = cost.bytes_of(self._shared.empty()[0])

    def inputs(self) -> list[list[int]]:
        """Return the token ids of every prompt."""
        return [list(prompt.tokens) for prompt in self._prompts]

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """Call once: the same prompts take the same way through the same programs."""
        assert new_tokens is None  # the run's spec refuses less
        self.call(case)

    def call(self, case: int) -> TimedCall:
        """Serve all prompts, timed."""
        del case
        faults = self._faults
        # The empty cache is made before the clock starts.
        call = Call(self._shared, clock=faults.clock)
        began_s, start_s = time.perf_counter(), faults.clock()
        call.run()
        faults.after_call((call.cache, call.state), began_s)
        # The clock stops when all outputs are ready, the cache included.
        jax.block_until_ready((call.cache, call.state))
        end_s = faults.clock()
        inside_s = time.perf_counter() - began_s
        decode_s, steps, ttft_s = 0.0, 0, 0.0
        # Rows do not go in step: times are summed up request by request.
        for request in call.served:
            ttft_s += request.first_s - start_s
            decode_s += request.end_s - request.first_s
            steps += len(request.tokens) - 1
        # A decode step of a row is one of its tokens after the first.
        timed = Timed(
            ttft_s=ttft_s / len(call.served),
            latency_s=end_s - start_s,
            decode_s=decode_s,
            steps=steps,
            inside_s=inside_s,
            outputs=faults.outputs(self._outputs_of(call)),
        )
        return TimedCall(timed, cache=self._cache_facts(call))

    def _outputs_of(self, call: Call) -> list[Output]:
        outputs = []
        for request in call.served:
            reason = self._engine.finish_reason(request.tokens)
            outputs.append((list(request.tokens), reason))
        return outputs

    def beside_call(self, case: int) -> None:
        """Make the empty cache of a call."""
        del case
        Call(self._shared, clock=self._faults.clock)

    def measured(self, calls: Sequence[TimedCall]) -> dict[str, float | None]:
        """Return the metrics of one trial.

        They are those of static batches, but that rows do not go in step: `ttft_s` is the mean over
        the prompts, from the beginning of the call and so with the time that a prompt waits for a
        row; `tpot_s` is a request's time from its first token to its last over the tokens after the
        first, with the time that other requests take to begin.
        """
        return timing.measured([call.timed for call in calls], self.metrics)

    def outputs(self, case: int, call: TimedCall) -> list[OutputRow]:
        """Return one row per prompt, as of static batches."""
        del case
        return timing.output_rows(self._prompts, call.timed.outputs, self._codec)

    def call_s(self, call: TimedCall) -> float:
        """Return how long one call took, by the arm's clock."""
        return call.timed.latency_s

    def inside_s(self, call: TimedCall) -> float:
        """Return how long one call took, by the true clock."""
        return call.timed.inside_s

    def facts(
        self,
        case: int,
        call: TimedCall,
        rows: Sequence[OutputRow],
    ) -> dict[str, Any]:
        """Return how many rows went on together, and what they had of the cache."""
        del case
        return {
            "batches": 1,
            "prompt_tokens": sum(len(prompt.tokens) for prompt in self._prompts),
            "cache": call.cache,
            **timing.arc_facts(self._prompts, rows),
        }

    def scores_by(self, engine: Engine, case: int) -> list[list[float | None]]:
        """Return none: nothing is scored."""
        del engine, case
        return []

    def limits(self, case: int) -> list[int]:
        """Return the most new tokens that each prompt may get."""
        del case
        return [request.new_tokens for request in self._shared.requests]

    def capture(self, case: int, path: Path) -> None:
        """Capture nothing: the workload's spec refuses it."""
        del case, path

    def programs(self, case: int) -> list[Use]:
        """Return what the calls so far have run, the deepest decode last."""
        del case
        return self._shared.used()

    def steps(self, case: int, rows: Sequence[OutputRow] = ()) -> Mapping[str, Step | None]:
        """Return nothing known: a token's time holds other requests' prompts, too."""
        del case, rows
        return {"ttft_s": None, "tpot_s": None}

    def last_step(self, case: int) -> None:
        """Return nothing known, as for `steps`."""
        del case

    def _cache_facts(self, call: Call) -> dict[str, Any]:
        """As `cost.cache_facts` of a static batch; here bytes are means over the decode steps."""
        bytes_each = cost.token_bytes(self._engine)
        # Every request may end with its first token: then there was no decode step.
        steps = max(call.steps, 1)
        rows, counts = self._shared.rows, call.manager.facts()
        shared_prefix = self._engine.generation.shared_prefix
        used_bytes = call.held / steps * bytes_each
        unused_share = 1 - call.held / call.taken if call.taken else None
        if shared_prefix:
            # Requests hold the same tokens, which `held` counts for each of them.
            used_bytes = unused_share = None
        facts = {
            "allocated_bytes": self.kv_cache_bytes,
            "reserved_bytes": call.taken / steps * bytes_each,
            "used_bytes": used_bytes,
            "unused_share": unused_share,
            "rows": rows,
            "most_rows": call.most_rows,
            "steps": call.steps,
            **counts,
            **cost.chosen_facts(self._engine, rows=rows),
        }
        if shared_prefix:
            facts["saved_bytes"] = counts["shared_pages"] * counts["page_size"] * bytes_each
        return facts
