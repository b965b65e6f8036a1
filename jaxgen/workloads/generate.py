"""The generation workload: every prompt, batch by batch, timed to the first token and to the last."""

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
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.protocol import Case, Row
from jaxgen.workloads.timing import METRICS, Timed

METRICS_AT_DEPTH = {"tpot_s": METRICS["tpot_s"], **METRICS}
"""At given depths it is the decode that is asked about, whatever the prefill took."""


class Generating:
    """Generates from every prompt; or, with `workload.depths`, decodes at each depth as a case of its own.

    Args:
        engine: the arm's.
        prompts: of the run.
        codec: of the arm's checkpoint.
        faults: what is wrong with the arm on purpose, if anything.

    Raises:
        UserError: the prompts do not fit the model, the cache or the buckets.
    """

    def __init__(self, engine: Engine, prompts: Sequence[Prompt], codec: Codec, *, faults: Faults):
        depths = engine.generation.depths
        self._engine = engine
        self._codec = codec
        self._faults = faults
        self.metrics = METRICS_AT_DEPTH if depths else METRICS
        self.cases = tuple(Case({"depth": depth}) for depth in depths) or (Case(),)
        rows = engine.generation.batch_size
        self._prompts = [at_depth(prompts, depth, rows=rows) for depth in depths] or [list(prompts)]
        self._limits = [
            timing.limits(each, engine.generation.max_new_tokens) for each in self._prompts
        ]
        self._capacity = max(
            engine.capacity(_tokens(each), limits=limits)
            for each, limits in zip(self._prompts, self._limits, strict=True)
        )
        self._batches = [self._batched(case) for case in range(len(self._prompts))]
        self.kv_cache_bytes = cost.kv_cache_bytes(engine, self._batches[0][0])

    def questions(self) -> list[list[int]]:
        """The token ids of every prompt of every case."""
        return [list(tokens) for prompts in self._prompts for tokens in _tokens(prompts)]

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """One call of the trials' own batches; or of every bucket's shape, whatever the prompts are.

        Args:
            case: its number.
            new_tokens: fewer than the trials' leave their later shapes cold; null is as many.
        """
        work = self._engine.generation
        if work.token_buckets or work.batch_buckets:
            lengths = work.token_buckets or sorted({batch.longest for batch in self._batches[case]})
            for batch in self._engine.bucket_batches(
                lengths, capacity=self._capacity, new_tokens=new_tokens
            ):
                self._run(
                    batch, every_step=True
                )  # zeros may end where the trials' own prompts go on
            return
        for batch in (
            self._batched(case, new_tokens=new_tokens) if new_tokens else self._batches[case]
        ):
            self._run(batch)

    def call(self, case: int) -> list[Timed]:
        """Generate once from every batch of a case. Activations are let go: many calls' would fill the memory."""
        return [
            dataclasses.replace(self._run(batch), captured=None) for batch in self._batches[case]
        ]

    def measured(self, calls: Sequence[list[Timed]]) -> dict[str, float | None]:
        """The metrics of one trial, as `timed.measured` defines them."""
        return timing.measured(list(itertools.chain.from_iterable(calls)), self.metrics)

    def answers(self, case: int, call: list[Timed]) -> list[Row]:
        """One row per prompt, as `timed.answers` has it."""
        written = [row for each in call for row in each.written]
        return timing.answers(self._prompts[case], written, self._codec)

    def seconds(self, call: list[Timed]) -> float:
        """How long one call took, by the arm's clock."""
        return sum(each.latency_s for each in call)

    def facts(self, case: int, call: list[Timed], rows: Sequence[Row]) -> dict[str, Any]:
        """How the prompts became batches, what the cache held, and how many ARC tasks were solved."""
        del call
        batches = self._batches[case]
        return {
            "batches": len(batches),
            "prompt_tokens": sum(sum(batch.prompt_lengths) for batch in batches),
            "padded_prompt_tokens": sum(batch.prompt.size for batch in batches),
            "cache": cost.cache_facts(self._engine, batches[0], rows),
            **timing.marks(self._prompts[case], rows),
        }

    def limits(self, case: int) -> list[int]:
        """The most new tokens that each prompt of a case may get."""
        return self._limits[case]

    def capture(self, case: int, path: Path) -> dict[str, Any] | None:
        """One more call, whose activations go into a file; null where none are asked for.

        Raises:
            OSError: it cannot be written.
        """
        asked = self._engine.generation.capture
        if not asked.layers:
            return None
        call = [self._run(batch) for batch in self._batches[case]]
        kept = [(each.captured, len(each.written)) for each in call if each.captured is not None]
        return capture.save(path, asked, kept, self.answers(case, call))

    def programs(self, case: int) -> list[Use]:
        """What the first batch of a case runs."""
        return generation_uses(self._engine, self._batches[case][0])

    def steps(self, case: int, rows: Sequence[Row] = ()) -> dict[str, Step | None]:
        """The mean prefill behind `ttft_s`, the mean decode step behind `tpot_s`."""
        return cost.steps(self._engine, self._batches[case], rows)

    def last_step(self, case: int) -> Step | None:
        """The decode step that reads the most slots."""
        return cost.last_step(self._engine, self._batches[case][0])

    def _run(self, batch: Batch, *, every_step: bool = False) -> Timed:
        """One batch. The clock runs from the prefill until all outputs are ready, cache included; the empty cache is
        made before it starts."""
        engine, faults = self._engine, self._faults
        cache = engine.empty_cache(batch)
        began_s, start = time.perf_counter(), faults.clock()
        cache, state = engine.prefill(batch, cache)
        jax.block_until_ready(state)
        first = faults.clock()
        cache, state = engine.decode(batch, cache, state, every_step=every_step)
        faults.after_call((cache, state), began_s)
        jax.block_until_ready((cache, state))
        end = faults.clock()
        written = engine.outputs(batch, state)
        return Timed(
            ttft_s=first - start,
            latency_s=end - start,
            decode_s=end - first,
            steps=max(len(tokens) for tokens, _ in written) - 1,
            written=faults.written(written),
            captured=state.captured,
        )

    def _batched(self, case: int, *, new_tokens: int | None = None) -> list[Batch]:
        return self._engine.batches(
            _tokens(self._prompts[case]),
            new_tokens=new_tokens,
            limits=self._limits[case],
            capacity=self._capacity,
        )


def at_depth(prompts: Sequence[Prompt], depth: int, *, rows: int) -> list[Prompt]:
    """`rows` prompts of `depth` tokens (of one, for 0): the given ones end to end, again and again; row r begins with
    the r-th of them, or, once all have had their turn, a token later, so that rows differ."""
    tokens = [list(prompt.tokens) for prompt in prompts]
    made = []
    for row in range(rows):
        later, first = divmod(row, len(tokens))
        text = itertools.chain.from_iterable(itertools.cycle(tokens[first:] + tokens[:first]))
        made.append(Prompt(tokens=tuple(itertools.islice(text, later, later + max(depth, 1)))))
    return made


def _tokens(prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
    return [prompt.tokens for prompt in prompts]
