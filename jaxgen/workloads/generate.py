"""The generation workload: every prompt, batch by batch, timed to its first and last token."""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine import capture
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use, generation_uses
from jaxgen.measure.roofline import Step
from jaxgen.workloads import cost, timing
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.prompts import Prompt, at_depth
from jaxgen.workloads.protocol import Case, OutputRow
from jaxgen.workloads.timing import METRICS, Timed

METRICS_AT_DEPTH = {
    "tpot_s": METRICS["tpot_s"],
    **METRICS,
}
"""At given depths the decode is what counts, whatever the prefill took."""


class Generating:
    """Generates from every prompt; with `workload.depths`, decodes at each depth.

    Each depth is a case of its own.

    Args:
        engine: the arm's.
        prompts: of the run.
        codec: of the arm's checkpoint.
        faults: what is wrong with the arm on purpose, if anything.

    Raises:
        UserError: the prompts do not fit the model, the cache or the buckets.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        codec: Codec,
        *,
        faults: Faults,
    ):
        depths = engine.generation.depths
        rows = engine.generation.batch_size
        self._engine = engine
        self._codec = codec
        self._faults = faults
        self.metrics = METRICS_AT_DEPTH if depths else METRICS
        self.cases = tuple(Case({"depth": depth}) for depth in depths) or (Case(),)
        self._prompts = [at_depth(prompts, depth, rows=rows) for depth in depths] or [list(prompts)]
        most = engine.generation.max_new_tokens
        self._limits = [timing.limits(of_case, most) for of_case in self._prompts]
        # One capacity for all cases: they share programs, and differ in nothing but their depth.
        capacities = []
        for of_case, limits in zip(self._prompts, self._limits, strict=True):
            capacities.append(engine.capacity(_tokens(of_case), limits=limits))
        self._capacity = max(capacities)
        # Inputs are on the device before any clock starts.
        self._batches = [self._make_batches(case) for case in range(len(self._prompts))]
        # Of one batch: the others reuse its memory.
        self.kv_cache_bytes = cost.kv_cache_bytes(engine, self._batches[0][0])

    def inputs(self) -> list[list[int]]:
        """Return the token ids of every prompt of every case."""
        inputs = []
        for prompts in self._prompts:
            inputs += [list(prompt.tokens) for prompt in prompts]
        return inputs

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """Call the trials' own batches once; or every bucket's shape, whatever the prompts are.

        Args:
            case: its number.
            new_tokens: fewer than the trials' leave their later shapes cold; null is as many.
        """
        work = self._engine.generation
        # With buckets every shape is compiled, whichever of them the prompts happen to need.
        if work.token_buckets or work.batch_buckets:
            lengths = work.token_buckets or sorted({batch.longest for batch in self._batches[case]})
            for batch in self._engine.bucket_batches(
                lengths,
                capacity=self._capacity,
                new_tokens=new_tokens,
            ):
                # Their zeros may end where the trials' own prompts go on.
                self._run(batch, every_step=True)
            return
        batches = self._batches[case]
        if new_tokens:
            batches = self._make_batches(case, new_tokens=new_tokens)
        for batch in batches:
            self._run(batch)

    def call(self, case: int) -> list[Timed]:
        """Generate once from every batch of a case."""
        timed = []
        for batch in self._batches[case]:
            # Activations are let go: many calls' would fill the memory.
            timed.append(dataclasses.replace(self._run(batch), captured=None))
        return timed

    def beside_call(self, case: int) -> None:
        """Make the empty caches of a call, and copy as many outputs to the host."""
        for batch in self._batches[case]:
            # Not waited for: what of it is not done when a call's clock starts, the clock has.
            self._engine.empty_cache(batch)
            # As many outputs, and ready: copying them waits for no work.
            self._engine.outputs(batch, batch.state)

    def measured(self, calls: Sequence[list[Timed]]) -> dict[str, float | None]:
        """Return the metrics of one trial, as `timing.measured` defines them."""
        return timing.measured(
            list(itertools.chain.from_iterable(calls)),
            self.metrics,
        )

    def outputs(self, case: int, call: list[Timed]) -> list[OutputRow]:
        """Return one row per prompt, as `timing.output_rows` has it."""
        outputs = list(itertools.chain.from_iterable(timed.outputs for timed in call))
        return timing.output_rows(self._prompts[case], outputs, self._codec)

    def call_s(self, call: list[Timed]) -> float:
        """Return how long one call took, by the arm's clock."""
        return sum(timed.latency_s for timed in call)

    def inside_s(self, call: list[Timed]) -> float:
        """Return how long one call took, by the true clock."""
        return sum(timed.inside_s for timed in call)

    def facts(
        self,
        case: int,
        call: list[Timed],
        rows: Sequence[OutputRow],
    ) -> dict[str, Any]:
        """Return how the prompts became batches, and what the cache held."""
        del call
        batches = self._batches[case]
        return {
            "batches": len(batches),
            "prompt_tokens": sum(sum(batch.prompt_lengths) for batch in batches),
            "padded_prompt_tokens": sum(batch.prompt.size for batch in batches),
            "cache": cost.cache_facts(self._engine, batches[0], rows),
            **timing.arc_facts(self._prompts[case], rows),
        }

    def scores_by(self, engine: Engine, case: int) -> list[list[float | None]]:
        """Return none: nothing is scored."""
        del engine, case
        return []

    def limits(self, case: int) -> list[int]:
        """Return the most new tokens that each prompt of a case may get."""
        return self._limits[case]

    def capture(self, case: int, path: Path) -> dict[str, Any] | None:
        """Call once more and write the activations into a file; null where none are captured.

        Raises:
            OSError: it cannot be written.
        """
        spec = self._engine.generation.capture
        if not spec.layers:
            return None
        call = [self._run(batch) for batch in self._batches[case]]
        # The last rows of a batch may hold no prompt: only the prompts' rows are written.
        buffers = []
        for timed in call:
            assert timed.captured is not None
            buffers.append((timed.captured, len(timed.outputs)))
        return capture.save(path, spec, buffers, self.outputs(case, call))

    def programs(self, case: int) -> list[Use]:
        """Return what the first batch of a case runs."""
        return generation_uses(self._engine, self._batches[case][0])

    def steps(self, case: int, rows: Sequence[OutputRow] = ()) -> dict[str, Step | None]:
        """Return the mean prefill behind `ttft_s` and the mean decode step behind `tpot_s`."""
        return cost.steps(self._engine, self._batches[case], rows)

    def last_step(self, case: int) -> Step | None:
        """Return the decode step that reads the most slots."""
        return cost.last_step(self._engine, self._batches[case][0])

    def _run(self, batch: Batch, *, every_step: bool = False) -> Timed:
        """Generate from one batch, timed."""
        engine, faults = self._engine, self._faults
        # Donated caches are made fresh for each call, before the clock starts.
        cache = engine.empty_cache(batch)
        # Two clocks: the arm's own may be wrong on purpose, the extra work needs a true one.
        began_s = time.perf_counter()
        start_s = faults.clock()
        cache, state = engine.prefill(batch, cache)
        jax.block_until_ready(state)
        first_s = faults.clock()
        cache, state = engine.decode(batch, cache, state, every_step=every_step)
        faults.after_call((cache, state), began_s)
        # The clock stops when all outputs are ready, the cache included.
        jax.block_until_ready((cache, state))
        end_s = faults.clock()
        inside_s = time.perf_counter() - began_s
        # Copied to the host behind the clock.
        outputs = engine.outputs(batch, state)
        return Timed(
            ttft_s=first_s - start_s,
            latency_s=end_s - start_s,
            decode_s=end_s - first_s,
            # The first token is the prefill's; the longest row says how many steps the batch ran.
            steps=max(len(tokens) for tokens, _ in outputs) - 1,
            inside_s=inside_s,
            outputs=faults.outputs(outputs),
            captured=state.captured,
        )

    def _make_batches(self, case: int, *, new_tokens: int | None = None) -> list[Batch]:
        return self._engine.batches(
            _tokens(self._prompts[case]),
            new_tokens=new_tokens,
            limits=self._limits[case],
            capacity=self._capacity,
        )


def _tokens(
    prompts: Sequence[Prompt],
) -> list[tuple[int, ...]]:
    return [prompt.tokens for prompt in prompts]
