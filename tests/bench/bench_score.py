"""Measure how fast scoring is on GPT-2's shapes: with a reused prefix, and with whole rows.

    python tests/bench/bench_score.py [--rounds 7] [--torch-python PYTHON]

PYTHON is an interpreter that has torch and transformers. Weights are random float32 numbers; a
query of 40 tokens, 32 items of 4, batches of 16; probabilities over the whole vocabulary and, in
one variant, among three labels. All variants take turns, round by round (PyTorch in a second
process, idle in between), so that the ratios hold although the machine's speed drifts. It prints
figures; nothing passes or fails.
"""

import argparse
import sys
import time
from collections.abc import Callable

import contest
import jax
import numpy as np

from jaxgen.checkpoints.restore import load
from jaxgen.config.experiment import load_experiment
from jaxgen.engine.engine import Engine
from jaxgen.engine.scoring.request import ScoreRequest
from jaxgen.engine.scoring.scorer import Scorer
from jaxgen.specs.dtype import Dtype

QUERY, ITEM, ITEMS, BATCH, VOCAB = 40, 4, 32, 16, 50257
VARIANTS = {
    "prefix reused": {"cache": "fixed"},
    "prefix reused, softmax": {"cache": "fixed", "apply_softmax": True},
    "prefix reused, dynamic cache": {"cache": "dynamic"},
    "whole rows": {"cache": "fixed", "prefix_cache": False},
}

TORCH = """
import sys, time, torch
from transformers import GPT2Config, GPT2LMHeadModel
query, item, items, batch, vocab, threads = map(int, sys.argv[1:])
torch.manual_seed(0); torch.set_num_threads(threads)
model = GPT2LMHeadModel(GPT2Config()).eval()
same = torch.randint(vocab, (1, query)).expand(items, query)
rows = torch.cat([same, torch.randint(vocab, (items, item))], dim=1)
labels = torch.tensor([5, 6, 7])
for line in sys.stdin:
    start = time.perf_counter()
    with torch.no_grad():
        for first in range(0, items, batch):
            part = rows[first:first + batch]
            outputs = model(input_ids=part, use_cache=False, logits_to_keep=1)
            outputs.logits[:, -1].softmax(-1)[:, labels]
    print(time.perf_counter() - start, flush=True)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torch-python", help="an interpreter that has torch and transformers")
    parser.add_argument("--torch-threads", type=int, default=2)
    options = parser.parse_args()
    contestants = {name: _jaxgen(**variant) for name, variant in VARIANTS.items()}
    if options.torch_python:
        sizes = map(str, (QUERY, ITEM, ITEMS, BATCH, VOCAB, options.torch_threads))
        contestants["Hugging Face PyTorch"] = contest.other_process(
            options.torch_python, TORCH, *sizes
        )
    contest.show(contest.take_turns(contestants, rounds=options.rounds, work=ITEMS), unit="items/s")


def _jaxgen(
    *, cache: str, prefix_cache: bool = True, apply_softmax: bool = False
) -> Callable[[], float]:
    run = (
        load_experiment(("model=gpt2", "model.weights=random", "baseline=off", f"cache={cache}"))
        .arms["candidate"]
        .run
    )
    loaded = load(run.model, dtype=Dtype())
    scorer = Scorer(
        Engine(run, loaded.structure, loaded.leaves), batch_size=BATCH, prefix_cache=prefix_cache
    )
    rng = np.random.default_rng(0)
    query = tuple(rng.integers(VOCAB, size=QUERY).tolist())
    rows = tuple((*query, *rng.integers(VOCAB, size=ITEM).tolist()) for _ in range(ITEMS))
    prepared = scorer.prepare(
        ScoreRequest(query=query, rows=rows, labels=(5, 6, 7), apply_softmax=apply_softmax)
    )

    def once() -> float:
        start = time.perf_counter()
        jax.block_until_ready(scorer.call(prepared))
        return time.perf_counter() - start

    return once


if __name__ == "__main__":
    sys.exit(main())
