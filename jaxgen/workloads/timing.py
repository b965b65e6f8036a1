"""What a call of generation yields, however its prompts were batched."""

import dataclasses
from collections.abc import Mapping, Sequence

from jaxgen.engine.capture import Captured
from jaxgen.engine.engine import Output
from jaxgen.workloads import arc
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.protocol import OutputRow

METRICS: dict[str, dict[str, str]] = {
    "tokens_per_s": {
        "unit": "tokens/s",
        "better": "higher",
    },
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
        steps: decode steps that took `decode_s`.
        inside_s: from the clock's start to its end by the true clock, whatever the arm's own says.
        outputs: of each row.
        captured: activations, where any are kept.
    """

    ttft_s: float
    latency_s: float
    decode_s: float
    steps: int
    inside_s: float
    outputs: list[Output]
    captured: Captured | None = None

    @property
    def tokens(self) -> int:
        """New tokens of all rows."""
        return sum(len(tokens) for tokens, _ in self.outputs)


def measured(batches: Sequence[Timed], names: Mapping[str, object]) -> dict[str, float | None]:
    """Return the metrics of one trial.

    `tokens_per_s` is all new tokens over all time; `latency_s` and `ttft_s` are means over the
    batches; `tpot_s` is the time after the first tokens over the steps after them (null where one
    token was all there was).

    Args:
        batches: of all calls of the trial.
        names: of the metrics, in the order in which they are returned.
    """
    # Totals over totals: a mean of rates would weigh short calls too much.
    tokens = sum(batch.tokens for batch in batches)
    total_s = sum(batch.latency_s for batch in batches)
    first_s = sum(batch.ttft_s for batch in batches)
    decode_s = sum(batch.decode_s for batch in batches)
    steps = sum(batch.steps for batch in batches)
    values = {
        "tokens_per_s": tokens / total_s,
        "latency_s": total_s / len(batches),
        "ttft_s": first_s / len(batches),
        "tpot_s": decode_s / steps if steps else None,
    }
    return {name: values[name] for name in names}


def output_rows(
    prompts: Sequence[Prompt],
    outputs: Sequence[Output],
    codec: Codec,
) -> list[OutputRow]:
    """Return a row for each prompt, and whether it solves the prompt's ARC task.

    Each is `{index, prompt, prompt_tokens, tokens, text, finish_reason}`.

    Args:
        prompts: of the run.
        outputs: for each prompt.
        codec: decodes them.
    """
    rows = []
    # In the order of the prompts, whatever the batches were: the arms are compared row by row.
    for index, (prompt, (tokens, reason)) in enumerate(zip(prompts, outputs, strict=True)):
        text = codec.decode(tokens)
        row = {
            "index": index,
            "prompt": prompt.text,
            "prompt_tokens": list(prompt.tokens),
            "tokens": tokens,
            "text": text,
            "finish_reason": reason,
        }
        if prompt.task:
            # Graded here, by text: what the model wrote counts, not the ids that it took.
            row |= arc.graded(prompt.task, text)
        rows.append(row)
    return rows


def arc_facts(prompts: Sequence[Prompt], rows: Sequence[OutputRow]) -> dict[str, object]:
    """Return how many ARC tasks were solved, where there were any."""
    # Prompts are tasks of ARC all together or not at all.
    tasks = []
    for prompt in prompts:
        if prompt.task:
            tasks.append(prompt.task)
    if tasks:
        return {"grids": arc.tally(rows, num_tasks=tasks[0].num_tasks)}
    return {}


def limits(prompts: Sequence[Prompt], most: int) -> list[int]:
    """Return the tokens that each prompt may get: its own number, at most the workload's."""
    limits = []
    for prompt in prompts:
        limits.append(most if prompt.new_tokens is None else min(prompt.new_tokens, most))
    return limits
