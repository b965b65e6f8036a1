"""Run folders as runs leave them, whole enough for a report, made without measuring anything."""

import copy
import csv
import json
from pathlib import Path
from typing import Any

from jaxgen.measure.statistics import summarise
from support.stored_results import metrics

MEMORY = {
    "weights_bytes": 10_000_000,
    "kv_cache_bytes": 1_500_000,
    "device_peak_bytes": None,
    "program_temp_bytes": 250_000,
    "host_peak_rss_bytes": 480_000_000,
    "reasons": {"device_peak_bytes": "the cpu backend keeps no account of device memory"},
}
STARTUP = {
    "import_s": 4.0,
    "load_s": 1.5,
    "trace_s": 0.5,
    "lower_s": 0.25,
    "compile_s": 2.0,
    "warmup_s": 3.0,
}
ROOFLINE = {
    "bytes_per_step": 1.2e7,
    "flops_per_step": 2.4e7,
    "bandwidth_bytes_per_s": 6e10,
    "peak_flops_per_s": 1.5e11,
    "mbu": 0.05,
    "mfu": 0.046,
    "of": "tpot_s",
    "prefill": {"bytes": 1e7, "flops": 1e9, "mbu": 0.01, "mfu": 0.3},
}
ENVIRONMENT = {
    "platform": "cpu",
    "device_kind": "cpu",
    "device_count": 1,
    "backend_version": "cpu",
    "cpu": "EPYC",
    "cores": 2,
    "memory_bytes": 25_000_000_000,
    "system": "Linux",
    "python": "3.11.7",
    "packages": {"jax": "0.10.2"},
    "xla_flags": None,
    "jax_environment": {},
    "jax_config": {"jax_enable_x64": False},
    "foreign_cpu_share": 0.02,
    "git": {"commit": "a" * 40, "dirty": False},
    "load_average_before": [1.0, 1.0, 1.0],
}
RATIO = "2.00 [1.90, 2.10]"
"""What a report makes of the comparison of `result`."""


def arm(level: float, **choices: str) -> dict[str, Any]:
    """An arm of `level` times 100 tokens/s."""
    chosen = {
        "model": "tiny",
        "cache": "fixed",
        "dtype": "float32",
        "baseline": "nocache",
    } | choices
    calls_s = [0.5 / level * each for each in (0.99, 1.0, 1.0, 1.01, 1.0, 1.0)]
    split = {
        "ttft_s": summarise([0.2 * each for each in calls_s], unit="s", better="lower"),
        "tpot_s": summarise([0.03 * each for each in calls_s], unit="s", better="lower"),
    }
    return {
        "choices": chosen,
        "config": {
            "cache": {"max_len": None},
            "workload": {"batch_size": 4},
            "model": {"weights": "pretrained"},
        },
        "weights": {
            "source": "package:tiny",
            "fingerprint": "abc",
            "random": False,
            "bytes": 10_000_000,
        },
        "startup": dict(STARTUP),
        "metrics": metrics(level) | split,
        "compile": {"events_per_trial": [0] * 6, "warm": True, "functions": {}, "void_trials": 0},
        "memory": copy.deepcopy(MEMORY),
        "roofline": copy.deepcopy(ROOFLINE),
        "failure": None,
    }


def compared(ratio: float = 2.0) -> dict[str, Any]:
    """A comparison whose interval is 5 % to either side."""
    each = {
        "ratio": ratio,
        "ci95": [0.95 * ratio, 1.05 * ratio],
        "blocks": 3,
        "pairs": 6,
        "processes": 1,
    }
    return {name: dict(each) for name in ("tokens_per_s", "latency_s")}


def result(**changes: Any) -> dict[str, Any]:
    """A finished A/B of a fixed cache against none: twice as fast."""
    made = {
        "schema_version": 1,
        "status": "completed",
        "verdict": "faster",
        "verdict_reason": (
            "cache=fixed is 2.00x faster than cache=none (95 % interval 1.90 to 2.10)"
        ),
        "run_id": "0123456789abcdef",
        "started_at": "2026-11-21T16:04:35+00:00",
        "finished_at": "2026-11-21T16:05:37+00:00",
        "command": "python -m jaxgen cache=fixed jit=closure",
        "arms": {"candidate": arm(2.0), "baseline": arm(1.0, cache="none")},
        "comparison": compared(),
        "agreement": {"status": "identical", "tokens_compared": 91, "first_divergence": None},
        "cases": [],
        "environment": ENVIRONMENT,
        "measurement": {"isolation": "separate", "margin": 0.02, "margin_source": "the default"},
        "stability": {
            "drift": {name: {"change": 0.01, "p_value": 0.9} for name in ("candidate", "baseline")}
        },
        "notes": ["a note of the run"],
    }
    return copy.deepcopy(made | changes)


def invalid(**changes: Any) -> dict[str, Any]:
    """The same measurement, spoilt; its trials are all there."""
    spoilt = {
        "verdict": "invalid",
        "verdict_reason": "the measurement is invalid: the outputs differ",
    }
    different = {"status": "different", "tokens_compared": 91, "first_divergence": None}
    return result(**spoilt, comparison={}, agreement=different, **changes)


def cases(depths: tuple[int, ...]) -> list[dict[str, Any]]:
    """A grid over depths, in which a step's speed falls with the square root of the depth."""
    return [
        {
            "params": {"depth": depth},
            "arms": {
                name: {
                    "metrics": metrics(level / max(depth, 1) ** 0.5),
                    "compile": arm(1.0)["compile"],
                }
                for name, level in (("candidate", 2.0), ("baseline", 1.0))
            },
            "comparison": compared(),
            "agreement": {"status": "identical", "tokens_compared": 5},
            "verdict": "faster",
            "verdict_reason": "faster",
        }
        for depth in depths
    ]


def write(folder: Path, told: dict[str, Any] | None = None, *, trials: bool = True) -> Path:
    """A run folder with a result and, of two arms, three blocks of two pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    told = result() if told is None else told
    (folder / "result.json").write_text(json.dumps(told))
    if trials:
        write_trials(folder, cases=max(len(told["cases"]), 1))
    return folder


def write_trials(folder: Path, *, cases: int = 1, dirty: bool = False) -> None:
    """The candidate twice as fast as the baseline in every pair."""
    columns = ("case", "process", "block", "pair", "position", "arm", "tokens_per_s", "latency_s")
    with (folder / "trials.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*columns, "compile_events", "void", "repeats"))
        for case in range(cases):
            for number in range(12):
                block, pair, name = (
                    number // 4,
                    number // 2 % 2,
                    ("candidate", "baseline")[number % 2],
                )
                speed = (200.0 if name == "candidate" else 100.0) * (1 + 0.01 * pair)
                spoilt = dirty and number == 3
                row = (
                    case,
                    0,
                    block,
                    pair,
                    number % 2,
                    name,
                    speed,
                    50 / speed,
                    int(spoilt),
                    spoilt,
                    1,
                )
                writer.writerow(row)


def sweep(folder: Path) -> Path:
    """Write a sweep over cache and dtype: two good points, one invalid, one failed, one killed."""
    points = {
        "0": result(arms={"candidate": arm(2.0), "baseline": arm(1.0, cache="none")}),
        "1": result(
            arms={"candidate": arm(3.0, dtype="int8"), "baseline": arm(1.0, cache="none")},
            comparison=compared(3.0),
        ),
        "2": invalid(
            arms={"candidate": arm(8.0, cache="dynamic"), "baseline": arm(1.0, cache="none")}
        ),
        "10": failed(arm(1.0, cache="dynamic", dtype="int8")),
    }
    for name, told in points.items():
        write(folder / name, told)
    write(folder / "3", result(status="running", verdict=None))
    return folder


def failed(candidate: dict[str, Any]) -> dict[str, Any]:
    """A run whose candidate ran out of memory."""
    failure = {
        "kind": "OutOfMemory",
        "message": "no room for <b>1 GB</b>\nmore",
        "traceback": "Traceback: boom",
    }
    arms = {
        "candidate": candidate | {"metrics": {}, "failure": failure},
        "baseline": arm(1.0, cache="none"),
    }
    return result(
        status="failed", verdict=None, verdict_reason=None, arms=arms, comparison={}, agreement=None
    )
