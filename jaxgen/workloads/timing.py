"""What a call of generation yields, however its prompts were batched: times, tokens, and the rows of an answer."""

import dataclasses
from collections.abc import Mapping, Sequence

from jaxgen.engine.capture import Captured
from jaxgen.engine.engine import Output
from jaxgen.workloads import arc
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.protocol import Row

METRICS: dict[str, dict[str, str]] = {
    "tokens_per_s": {"unit": "tokens/s", "better": "higher"},
    "latency_s": {"unit": "s", "better": "lower"},
    "ttft_s": {"unit": "s", "better": "lower"},
    "tpot_s": {"unit": "s", "better": "lower"},
}
"""What a trial yields; the first is the one that the verdict is about."""


@dataclasses.dataclass(frozen=True)
class Timed:
    """Rows that were generated together, from prompt to last token.

    Attributes:
        ttft_s: until a row's first token was there.
        latency_s: until everything was.
        decode_s: after the first tokens.
        steps: that took so long.
        written: of each row.
        captured: activations, where any are kept.
    """

    ttft_s: float
    latency_s: float
    decode_s: float
    steps: int
    written: list[Output]
    captured: Captured | None = None


def measured(timed: Sequence[Timed], names: Mapping[str, object]) -> dict[str, float | None]:
    """The metrics of one trial.

    `tokens_per_s` is all new tokens over all time; `latency_s` and `ttft_s` are means over the batches; `tpot_s` is the
    time after the first tokens over the steps after them (null where one token was all there was).
    """
    total_s = sum(each.latency_s for each in timed)
    steps = sum(each.steps for each in timed)
    values = {
        "tokens_per_s": sum(len(tokens) for each in timed for tokens, _ in each.written) / total_s,
        "latency_s": total_s / len(timed),
        "ttft_s": sum(each.ttft_s for each in timed) / len(timed),
        "tpot_s": sum(each.decode_s for each in timed) / steps if steps else None,
    }
    return {name: values[name] for name in names}


def answers(prompts: Sequence[Prompt], written: Sequence[Output], codec: Codec) -> list[Row]:
    """One row per prompt: `{index, prompt, prompt_tokens, tokens, text, finish_reason}`, and marks of ARC."""
    return [
        {
            "index": index,
            "prompt": prompt.text,
            "prompt_tokens": list(prompt.tokens),
            "tokens": tokens,
            "text": codec.decode(tokens),
            "finish_reason": reason,
            **(arc.marked(prompt.task, codec.decode(tokens)) if prompt.task else {}),
        }
        for index, (prompt, (tokens, reason)) in enumerate(zip(prompts, written, strict=True))
    ]


def marks(prompts: Sequence[Prompt], rows: Sequence[Row]) -> dict[str, object]:
    """How many tasks of ARC were solved, where there were any."""
    tasks = [prompt.task for prompt in prompts if prompt.task]
    return {"grids": arc.tally(rows, of=tasks[0].of)} if tasks else {}


def limits(prompts: Sequence[Prompt], most: int) -> list[int]:
    """Tokens that each prompt may get: its own number, at most the workload's."""
    return [
        most if prompt.new_tokens is None else min(prompt.new_tokens, most) for prompt in prompts
    ]
