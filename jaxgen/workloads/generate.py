"""The generation workload: every prompt, batch by batch, timed to the first token and to the last."""

import dataclasses
import time
from collections.abc import Sequence

import jax

from jaxgen.engine.batch import Batch
from jaxgen.engine.engine import Engine, completions
from jaxgen.engine.programs import State
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.text import Codec

METRICS: dict[str, dict[str, str]] = {
    "tokens_per_s": {"unit": "tokens/s", "better": "higher"},
    "latency_s": {"unit": "s", "better": "lower"},
    "ttft_s": {"unit": "s", "better": "lower"},
    "tpot_s": {"unit": "s", "better": "lower"},
}
"""What a trial yields; the first is the one that the verdict is about."""


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


def call(engine: Engine, batches: Sequence[Batch]) -> list[Timed]:
    """Generate once from every batch. The clock runs from the prefill until all outputs are ready, cache included;
    the empty cache is made before it starts."""
    timed = []
    for batch in batches:
        cache = engine.empty_cache(batch)
        start = time.perf_counter()
        cache, state = engine.prefill(batch, cache)
        jax.block_until_ready(state)
        first = time.perf_counter()
        cache, state = engine.decode(batch, cache, state)
        jax.block_until_ready((cache, state))
        end = time.perf_counter()
        counts = [len(tokens) for tokens, _ in completions(batch, state)]
        timed.append(
            Timed(ttft_s=first - start, latency_s=end - start, tokens=sum(counts), steps=max(counts) - 1, state=state)
        )
    return timed


def metrics(timed: Sequence[Timed]) -> dict[str, float | None]:
    """The metrics of one trial.

    `tokens_per_s` is all new tokens over all time; `latency_s` and `ttft_s` are means over the batches; `tpot_s` is
    the time after the first tokens over the steps after them (null where one token was all there was).
    """
    total_s = sum(each.latency_s for each in timed)
    steps = sum(each.steps for each in timed)
    return {
        "tokens_per_s": sum(each.tokens for each in timed) / total_s,
        "latency_s": total_s / len(timed),
        "ttft_s": sum(each.ttft_s for each in timed) / len(timed),
        "tpot_s": sum(each.latency_s - each.ttft_s for each in timed) / steps if steps else None,
    }


def outputs(batches: Sequence[Batch], timed: Sequence[Timed], prompts: Sequence[Prompt], codec: Codec) -> list[dict]:
    """One row per prompt: `{index, prompt, prompt_tokens, tokens, text, finish_reason}`."""
    answers = [answer for batch, each in zip(batches, timed, strict=True) for answer in completions(batch, each.state)]
    return [
        {
            "index": index,
            "prompt": prompt.text,
            "prompt_tokens": list(prompt.tokens),
            "tokens": tokens,
            "text": codec.decode(tokens),
            "finish_reason": reason,
        }
        for index, (prompt, (tokens, reason)) in enumerate(zip(prompts, answers, strict=True))
    ]
