"""The generation workload: every prompt, batch by batch, timed to the first token and to the last."""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine import capturing
from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine, completions
from jaxgen.engine.faults import Faults
from jaxgen.engine.programs import State
from jaxgen.engine.uses import Use, generation_uses
from jaxgen.measure.roofline import Step
from jaxgen.workloads import arc, cost
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.protocol import Case, Row
from jaxgen.workloads.text import Codec

METRICS: dict[str, dict[str, str]] = {
    "tokens_per_s": {"unit": "tokens/s", "better": "higher"},
    "latency_s": {"unit": "s", "better": "lower"},
    "ttft_s": {"unit": "s", "better": "lower"},
    "tpot_s": {"unit": "s", "better": "lower"},
}
"""What a trial yields; the first is the one that the verdict is about."""

METRICS_AT_DEPTH = {"tpot_s": METRICS["tpot_s"], **METRICS}
"""At given depths it is the decode that is asked about, whatever the prefill took."""


@dataclasses.dataclass(frozen=True)
class Timed:
    """One batch from prompt to last token.

    Attributes:
        ttft_s: until the first tokens were there.
        latency_s: until everything was.
        tokens: new tokens of all rows together.
        steps: decode steps after the first token.
        state: what came out.
    """

    ttft_s: float
    latency_s: float
    tokens: int
    steps: int
    state: State


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
        self._capacity = max(engine.capacity(_tokens(each)) for each in self._prompts)
        self._batches = [engine.batches(_tokens(each), capacity=self._capacity) for each in self._prompts]
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
            for batch in self._engine.bucket_batches(lengths, capacity=self._capacity, new_tokens=new_tokens):
                self._run(batch, every_step=True)  # zeros may end where the trials' own prompts go on
            return
        tokens = _tokens(self._prompts[case])
        short = self._engine.batches(tokens, new_tokens=new_tokens, capacity=self._capacity) if new_tokens else None
        for batch in short or self._batches[case]:
            self._run(batch)

    def call(self, case: int) -> list[Timed]:
        """Generate once from every batch of a case."""
        return [self._run(batch) for batch in self._batches[case]]

    def measured(self, calls: Sequence[list[Timed]]) -> dict[str, float | None]:
        """The metrics of one trial.

        `tokens_per_s` is all new tokens over all time; `latency_s` and `ttft_s` are means over the batches; `tpot_s` is
        the time after the first tokens over the steps after them (null where one token was all there was).
        """
        timed = list(itertools.chain.from_iterable(calls))
        total_s = sum(each.latency_s for each in timed)
        steps = sum(each.steps for each in timed)
        values = {
            "tokens_per_s": sum(each.tokens for each in timed) / total_s,
            "latency_s": total_s / len(timed),
            "ttft_s": sum(each.ttft_s for each in timed) / len(timed),
            "tpot_s": sum(each.latency_s - each.ttft_s for each in timed) / steps if steps else None,
        }
        return {name: values[name] for name in self.metrics}

    def answers(self, case: int, call: list[Timed]) -> list[Row]:
        """One row per prompt: `{index, prompt, prompt_tokens, tokens, text, finish_reason}`, and marks of ARC."""
        batches = self._batches[case]
        written = [row for batch, timed in zip(batches, call, strict=True) for row in completions(batch, timed.state)]
        return [
            {
                "index": index,
                "prompt": prompt.text,
                "prompt_tokens": list(prompt.tokens),
                "tokens": tokens,
                "text": self._codec.decode(tokens),
                "finish_reason": reason,
                **(arc.marked(prompt.task, self._codec.decode(tokens)) if prompt.task else {}),
            }
            for index, (prompt, (tokens, reason)) in enumerate(zip(self._prompts[case], written, strict=True))
        ]

    def seconds(self, call: list[Timed]) -> float:
        """How long one call took, by the arm's clock."""
        return sum(each.latency_s for each in call)

    def facts(self, case: int, rows: Sequence[Row]) -> dict[str, Any]:
        """How the prompts became batches, what the cache held, and how many ARC tasks were solved."""
        batches, tasks = self._batches[case], [prompt.task for prompt in self._prompts[case] if prompt.task]
        return {
            "batches": len(batches),
            "prompt_tokens": sum(sum(batch.prompt_lengths) for batch in batches),
            "padded_prompt_tokens": sum(batch.prompt.size for batch in batches),
            "cache": cost.cache_facts(self._engine, batches[0], rows),
            **({"grids": arc.tally(rows, of=tasks[0].of)} if tasks else {}),
        }

    def capture(self, case: int, path: Path) -> dict[str, Any] | None:
        """One more call, whose activations go into a file; null where none are asked for.

        Raises:
            OSError: it cannot be written.
        """
        asked = self._engine.generation.capture
        if not asked.layers:
            return None
        call = self.call(case)
        kept = [timed.state.captured for timed in call if timed.state.captured is not None]
        return capturing.save(path, asked, kept, self.answers(case, call))

    def programs(self, case: int) -> list[Use]:
        """What the first batch of a case runs."""
        return generation_uses(self._engine, self._batches[case][0])

    def steps(self, case: int) -> dict[str, Step | None]:
        """The mean prefill behind `ttft_s`, the mean decode step behind `tpot_s`."""
        return cost.steps(self._engine, self._batches[case])

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
        state = faults.written(state)
        counts = [len(tokens) for tokens, _ in completions(batch, state)]
        return Timed(
            ttft_s=first - start, latency_s=end - start, tokens=sum(counts), steps=max(counts) - 1, state=state
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
