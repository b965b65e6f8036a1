"""Measure what pages cost against a contiguous cache on a long text, where attention is most work.

    python tests/bench/bench_pages.py [--rounds 5] [--depth 2000] [--batch 4]

8 layers, hidden size 256, 8 heads of 64, random float32 weights; 16 tokens after a prompt of
`depth`. All variants take turns, round by round, in one process. It prints figures; nothing
passes or fails.
"""

import argparse
import sys

import contest
import jax

from jaxgen.config.experiment import load_experiment
from jaxgen.engine.ledger import Ledger
from jaxgen.worker.loading import load_arm

SHAPES = (
    *(
        "model=tiny",
        "model.weights=random",
        "model.shapes.num_layers=8",
        "model.shapes.hidden_size=256",
    ),
    *("model.shapes.num_heads=8", "model.shapes.num_kv_heads=8", "model.shapes.head_dim=64"),
    *("model.shapes.context=4096", "model.shapes.intermediate_size=512"),
    *("baseline=off", "prompts=synthetic", "workload.ignore_eos=true"),
)
VARIANTS = {
    "fixed": ("cache=fixed",),
    "paged, blockwise": ("cache=paged", "cache.kernel=blockwise"),
    "paged, reference": ("cache=paged", "cache.kernel=reference"),
    **(
        {}
        if jax.default_backend() == "cpu"
        else {"paged, pallas": ("cache=paged", "cache.kernel=pallas")}
    ),
}
NEW_TOKENS = 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("rounds", 5), ("depth", 2000), ("batch", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    sizes = (f"workload.batch_size={options.batch}", f"prompts.count={options.batch}")
    sizes += (f"prompts.length={options.depth}", f"workload.max_new_tokens={NEW_TOKENS}")
    contestants = {name: _decoding(*overrides, *sizes) for name, overrides in VARIANTS.items()}
    rates = contest.take_turns(contestants, rounds=options.rounds, work=1)
    contest.show(rates, unit="steps/s")


def _decoding(*overrides: str) -> contest.Once:
    arm = load_arm(
        load_experiment((*SHAPES, *overrides)).candidate.run,
        ledger=_LEDGER,
        others={},
        progress=lambda *_: None,
    )
    arm.prepare(0)
    return lambda: arm.trial(0, 1)["metrics"]["tpot_s"]


_LEDGER = Ledger()

if __name__ == "__main__":
    sys.exit(main())
