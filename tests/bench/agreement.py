"""Every injected bug over caches and dtypes, and right arms that must not be called different.

    python tests/bench/agreement.py bugs [CACHE ...]      a table of statistics, bug by dtype
    python tests/bench/agreement.py right [COUNT]         so many right pairs

Nothing is timed: what counts is what is called different. The bugs take some minutes a cache.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from jaxgen.engine.engine import Engine
from jaxgen.engine.whole_sequences import LAST_STEPS
from jaxgen.experiment.output_check import agreement_of
from support.arms_in_process import ArmsInProcess, arms_of
from support.injected_bugs import WITHOUT_CACHE, Bug, BuggyArm, bugs
from support.small_models import answers

NEW_TOKENS = 16
DTYPES = {
    "float32": (),
    "bfloat16": ("dtype=bfloat16",),
    "int8": ("dtype=int8", "dtype.kv=int8", "baseline.dtype=float32"),
}


def bug_table(cache: str) -> int:
    """Print a row for each bug; return how many were missed."""
    found = {}
    for dtype, overrides in DTYPES.items():
        loaded = arms_of(
            (
                "model=tiny",
                f"cache={cache}",
                # One program for the baseline, not one for each length.
                "baseline.overrides=['cache.pad=true']",
                "workload.batch_size=4",
                f"workload.max_new_tokens={NEW_TOKENS}",
                "workload.ignore_eos=true",
                *overrides,
            )
        )
        found[dtype] = _statistics(loaded, cache=cache)
        print(f"{cache} in {dtype} is done", file=sys.stderr, flush=True)
        loaded.close()
    missed = 0
    for name in found["float32"]:
        cells = []
        for by_name in found.values():
            status, statistic = by_name[name]
            missed += name != "no bug" and status != "different"
            missed += name == "no bug" and status == "different"
            cells.append(f"{statistic:>10} {status:<10}")
        print(f"{cache:8} {name:36}", *cells, flush=True)
    return missed


def _statistics(arms: ArmsInProcess, *, cache: str) -> dict[str, tuple[str, str]]:
    right = arms.engine("candidate")
    baseline = arms.outputs("baseline")
    buggy = BuggyArm(right)
    found = {}
    read_before = NEW_TOKENS - 1 - LAST_STEPS if cache == "dynamic" else 0
    injected = bugs(new_tokens=NEW_TOKENS, read_before=read_before)
    for name, bug in ({"no bug": Bug()} | injected).items():
        if cache == "none" and not name.startswith(("no bug", *WITHOUT_CACHE)):
            continue
        if name == "no bug":
            engine = right
        elif bug.eps is not None:
            engine = BuggyArm(right, bug).engine
        else:
            buggy.inject(bug)
            engine = buggy.engine
        arms.put("candidate", engine)
        agreed = arms.agreement(baseline=baseline)
        excess = agreed["algorithm"]["excess"]
        found[name] = (agreed["status"], "sure" if excess is None else f"{excess:.3g}")
    return found


RIGHT = (
    ("cache=fixed",),
    ("cache=paged", "cache.page_size=4", "workload.temperature=1.0"),
    ("cache=fixed", "cache.regions=2", "workload.loop=host"),
    ("cache=dynamic", "workload.max_new_tokens=8", "workload.temperature=1.0"),
    ("cache=fixed", "dtype=bfloat16"),
    ("cache=fixed", "dtype=bfloat16", "workload.temperature=1.0"),
    ("cache=paged", "dtype=bfloat16", "workload.temperature=1.0", "workload.top_k=20"),
    ("cache=fixed", "dtype=float16", "workload.temperature=1.5", "workload.top_p=0.9"),
    ("cache=fixed", "dtype=bfloat16", "baseline.dtype=float32"),
    ("cache=fixed", "cache.layout=HND", "dtype=int8", "dtype.kv=int8", "baseline.dtype=float32"),
)
"""Of each so many prompts; the embedded model throughout."""


def right_pairs(count: int) -> int:
    """Compare so many right pairs; return how many were called different."""
    each = -(-count // len(RIGHT))
    different = compared = 0
    rng = np.random.default_rng(0)
    for overrides in RIGHT:
        arms = arms_of(
            (
                "model=tiny",
                "workload.batch_size=2",
                "workload.max_new_tokens=24",
                "workload.ignore_eos=true",
                "prompts=synthetic",
                "prompts.count=2",
                "prompts.length=14",
                "baseline.overrides=['cache.pad=true']",
                *overrides,
            )
        )
        parted, largest = 0, 0.0
        for _ in range(each):
            prompts = [rng.integers(0, 1024, 14).tolist() for _ in range(2)]
            rows = {name: _rows(arms.engine(name), prompts) for name in arms.arms}
            agreed = agreement_of(arms.arms, arms, rows, case=0)
            compared += 1
            parted += agreed["prompts_diverging"]
            largest = max(largest, agreed["algorithm"]["excess"] or 0.0)
            if agreed["status"] == "different":
                different += 1
                print(*overrides, agreed["reasons"], flush=True)
        arms.close()
        print(
            *overrides,
            f"{each} pairs: {parted} prompts parted, largest excess {largest:.3g};",
            f"{different} of {compared} pairs different so far",
            flush=True,
        )
    return different


def _rows(engine: Engine, prompts: list[list[int]]) -> list[dict]:
    rows = []
    for index, (tokens, _) in enumerate(answers(engine, prompts)):
        rows.append({"index": index, "prompt_tokens": prompts[index], "tokens": tokens})
    return rows


if __name__ == "__main__":
    if sys.argv[1] == "right":
        wrong = right_pairs(int(sys.argv[2]) if len(sys.argv) > 2 else 200)
    else:
        wrong = sum(
            bug_table(cache) for cache in sys.argv[2:] or ("fixed", "paged", "dynamic", "none")
        )
    sys.exit(f"{wrong} judged wrong" if wrong else 0)
