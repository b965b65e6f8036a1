"""Measure how fast decoding is on GPT-2's shapes, beside Hugging Face's PyTorch and the memory.

    python tests/bench/bench_decode.py [--rounds 7] [--torch-python PYTHON]

PYTHON is an interpreter that has torch and transformers. Weights are random float32 numbers; the
batch is 1, with 16 prompt and 64 new tokens. All variants take turns, round by round, in one
process (PyTorch in a second one, idle in between), so that the ratios hold although the machine's
speed drifts. It prints figures; nothing here passes or fails.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import contest
import numpy as np

from jaxgen.config.experiment import load_experiment
from jaxgen.engine.ledger import Ledger
from jaxgen.worker.loading import load_arm

COMMON = (
    "model=gpt2",
    "model.weights=random",
    "baseline=off",
    "prompts=synthetic",
    "workload.batch_size=1",
    "workload.max_new_tokens=64",
    "workload.ignore_eos=true",
)
VARIANTS = {
    "fixed 128, device loop": ("cache.max_len=128",),
    "fixed 128, host loop": ("cache.max_len=128", "workload.loop=host"),
    "fixed 1024, device loop": ("cache.max_len=1024",),
    "fixed 1024, all visible": ("cache.max_len=1024", "cache.bucket=0"),
}

WEIGHTS_BYTES = 124_439_808 * 4

TORCH = """
import sys, time, torch
from transformers import GPT2Config, GPT2LMHeadModel
torch.manual_seed(0); torch.set_num_threads(int(sys.argv[1]))
model = GPT2LMHeadModel(GPT2Config()).eval()
prompt = torch.randint(0, 50257, (1, 16))
for line in sys.stdin:
    start = time.perf_counter()
    with torch.no_grad():
        limits = dict(min_new_tokens=64, max_new_tokens=64)
        model.generate(prompt, do_sample=False, pad_token_id=0, **limits)
    print(time.perf_counter() - start, flush=True)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--torch-python", help="an interpreter that has torch and transformers")
    parser.add_argument("--torch-threads", type=int, default=2)
    options = parser.parse_args()
    contestants = {name: _jaxgen(*overrides) for name, overrides in VARIANTS.items()}
    if options.torch_python:
        contestants["Hugging Face PyTorch generate"] = contest.other_process(
            options.torch_python, TORCH, str(options.torch_threads)
        )
    bandwidth: list[float] = []
    rates = contest.take_turns(
        contestants,
        rounds=options.rounds,
        work=64,
        before_each_round=lambda: bandwidth.append(_read_bandwidth()),
    )
    print(f"one thread reads {statistics.median(bandwidth) / 1e9:.1f} GB/s")

    def share(name: str) -> str:
        read = [
            rate * WEIGHTS_BYTES / each for rate, each in zip(rates[name], bandwidth, strict=True)
        ]
        return f"weights read at {statistics.median(read):.0%} of one thread's bandwidth"

    contest.show(rates, unit="tokens/s", extra=share)


def _jaxgen(*overrides: str) -> Callable[[], float]:
    run = load_experiment((*COMMON, *overrides)).candidate.run
    arm = load_arm(run, ledger=_LEDGER, others={}, progress=lambda *_: None)
    arm.prepare(0)
    return lambda: arm.trial(0, 1)["metrics"]["latency_s"]


def _read_bandwidth() -> float:
    """Bytes per second that one thread reads: the best of three sums over 512 MiB."""
    buffer = _BUFFER
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        np.max(buffer)
        best = min(best, time.perf_counter() - start)
    return buffer.nbytes / best


_LEDGER = Ledger()
_BUFFER = np.ones(128 * 1024 * 1024, np.float32)

if __name__ == "__main__":
    sys.exit(main())
