"""Makes scores.json: how likely transformers finds labels after a query and each of some items.

It reads the checkpoints beside it that make_golden.py wrote. Each row is run alone, unpadded,
without a cache and in float64, so that the file holds the model's answer and not one library's
rounding.

Run it in an environment with torch, which jaxgen itself never needs (seconds, no network):

    python tests/golden/make_golden_scores.py
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
FAMILIES = ("gpt2", "llama", "qwen2", "qwen3")
QUERY_LENGTH = 11
ITEM_LENGTHS = (3, 1, 0, 7, 2, 4)  # ragged; one item is empty
SEED = 20


@torch.no_grad()
def main() -> None:
    """Write the file."""
    torch.set_num_threads(1)
    golden = {family: family_scores(family) for family in FAMILIES}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    lines = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in golden.items()]
    lines.insert(0, f'"meta": {json.dumps({**versions, "seed": SEED})}')
    (HERE / "scores.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def family_scores(family: str) -> dict:
    """Return a request and its four answers.

    Its labels have both ends of the vocabulary and a duplicate.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(
        HERE / family, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    rng = np.random.default_rng([SEED, FAMILIES.index(family)])
    vocab = model.config.vocab_size
    query = rng.integers(vocab, size=QUERY_LENGTH).tolist()
    items = [rng.integers(vocab, size=length).tolist() for length in ITEM_LENGTHS]
    labels = [0, int(rng.integers(1, vocab - 1)), vocab - 1, 0]
    after = {
        "query_first": [query + item for item in items],
        "item_first": [item + query for item in items],
    }
    logits = {order: [last_logits(model, row) for row in rows] for order, rows in after.items()}
    continuation = items[3]
    return {
        "query": query,
        "items": items,
        "label_token_ids": labels,
        "vocabulary": {
            order: [picked(rows.softmax(-1), labels) for rows in each]
            for order, each in logits.items()
        },
        "softmax": {
            order: [rounded(rows[labels].softmax(-1)) for rows in each]
            for order, each in logits.items()
        },
        "continuation": continuation,
        "logprobs": token_logprobs(model, query, continuation),
    }


def last_logits(model, row: list[int]) -> torch.Tensor:
    """Return the logits (V,) after one unpadded row."""
    return model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1]


def token_logprobs(model, context: list[int], continuation: list[int]) -> list[float]:
    """Return the log-probability of each token of a continuation."""
    logits = (
        model(input_ids=torch.tensor([context + continuation]), use_cache=False)
        .logits[0]
        .log_softmax(-1)
    )
    first = len(context) - 1
    picks = [logits[first + number, token] for number, token in enumerate(continuation)]
    return rounded(torch.stack(picks))


def picked(probabilities: torch.Tensor, labels: list[int]) -> list[float]:
    """Return one number per label."""
    return rounded(probabilities[labels])


def rounded(values: torch.Tensor) -> list[float]:
    """Round to nine digits: float32 holds no more."""
    return [float(f"{value:.9g}") for value in values.tolist()]


if __name__ == "__main__":
    main()
