"""Generation by continuous batching: all prompts in one call, each in the first row that comes free."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine.continuous import Call, Continuous, Request
from jaxgen.engine.engine import Engine
from jaxgen.engine.program_use import Use
from jaxgen.measure.roofline import Step
from jaxgen.workloads import cost, timing
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.protocol import Case, Row
from jaxgen.workloads.timing import METRICS, Timed


@dataclasses.dataclass(frozen=True)
class Served:
    """One call.

    Attributes:
        timed: its times and tokens.
        cache: what its texts had of the cache.
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

    def __init__(self, engine: Engine, prompts: Sequence[Prompt], codec: Codec, *, faults: Faults):
        self._engine = engine
        self._prompts = list(prompts)
        self._codec = codec
        self._faults = faults
        most = timing.limits(prompts, engine.generation.max_new_tokens)
        self._shared = Continuous(
            engine, [Request(p.tokens, limit) for p, limit in zip(prompts, most, strict=True)]
        )
        self.metrics = METRICS
        self.cases = (Case(),)
        self.kv_cache_bytes = cost.bytes_of(self._shared.empty()[0])

    def questions(self) -> list[list[int]]:
        """The token ids of every prompt."""
        return [list(prompt.tokens) for prompt in self._prompts]

    def warm_up(self, case: int, *, new_tokens: int | None) -> None:
        """One call: the same prompts take the same way through the same programs."""
        assert new_tokens is None  # the run's spec refuses less
        self.call(case)

    def call(self, case: int) -> Served:
        """Serve all prompts. The clock runs until all outputs are ready, cache included; the empty cache is made before
        it starts."""
        del case
        faults = self._faults
        call = Call(self._shared, clock=faults.clock)
        began_s, start = time.perf_counter(), faults.clock()
        call.run()
        faults.after_call((call.cache, call.state), began_s)
        jax.block_until_ready((call.cache, call.state))
        end = faults.clock()
        written = [
            (list(text.tokens), self._engine.finish_reason(text.tokens)) for text in call.texts
        ]
        return Served(
            Timed(
                ttft_s=sum(text.first_s - start for text in call.texts) / len(call.texts),
                latency_s=end - start,
                decode_s=sum(text.end_s - text.first_s for text in call.texts),
                steps=sum(len(text.tokens) - 1 for text in call.texts),
                written=faults.written(written),
            ),
            cache=self._cache_facts(call),
        )

    def measured(self, calls: Sequence[Served]) -> dict[str, float | None]:
        """The metrics of one trial.

        As of static batches, but that rows do not go in step: `ttft_s` is the mean over the prompts, from the beginning
        of the call and so with the time that a prompt waits for a row; `tpot_s` is a text's time from its first token
        to its last over the tokens after the first, with the time that other texts take to begin.
        """
        return timing.measured([each.timed for each in calls], self.metrics)

    def answers(self, case: int, call: Served) -> list[Row]:
        """One row per prompt, as of static batches."""
        del case
        return timing.answers(self._prompts, call.timed.written, self._codec)

    def seconds(self, call: Served) -> float:
        """How long one call took, by the arm's clock."""
        return call.timed.latency_s

    def facts(self, case: int, call: Served, rows: Sequence[Row]) -> dict[str, Any]:
        """How many rows went on together, and what they had of the cache."""
        del case
        return {
            "batches": 1,
            "prompt_tokens": sum(len(prompt.tokens) for prompt in self._prompts),
            "cache": call.cache,
            **timing.marks(self._prompts, rows),
        }

    def limits(self, case: int) -> list[int]:
        """The most new tokens that each prompt may get."""
        del case
        return [request.new_tokens for request in self._shared.requests]

    def capture(self, case: int, path: Path) -> None:
        """Never asked for: the workload's spec refuses it."""
        del case, path

    def programs(self, case: int) -> list[Use]:
        """What the calls so far have run, the deepest decode last."""
        del case
        return self._shared.used()

    def steps(self, case: int, rows: Sequence[Row] = ()) -> Mapping[str, Step | None]:
        """Unknown: a token's time holds other texts' prompts, too."""
        del case, rows
        return {"ttft_s": None, "tpot_s": None}

    def last_step(self, case: int) -> None:
        """Unknown as well."""
        del case

    def _cache_facts(self, call: Call) -> dict[str, Any]:
        """`cost.cache_facts` has the same of a static batch; bytes are means over the decode steps here."""
        token_bytes, steps = cost.token_bytes(self._engine), max(call.steps, 1)
        shared = self._engine.generation.shared_prefix
        counts = call.rooms.facts()
        facts = {
            "allocated_bytes": self.kv_cache_bytes,
            "reserved_bytes": call.taken / steps * token_bytes,
            "used_bytes": None
            if shared
            else call.held / steps * token_bytes,  # texts hold the same tokens twice
            "unused_share": None if shared or not call.taken else 1 - call.held / call.taken,
            "rows": self._shared.rows,
            "most_rows": call.most_rows,
            "steps": call.steps,
            **counts,
            **cost.chosen_facts(self._engine, rows=self._shared.rows),
        }
        if shared:
            facts["saved_bytes"] = counts["shared_pages"] * counts["page_size"] * token_bytes
        return facts
