"""Results as a run leaves them behind, made from a few numbers."""

import copy
import json
import math
from pathlib import Path

from jaxgen.gate.score_csv import COLUMNS
from jaxgen.measure.statistics import summarise

STEADY = (0.99, 1.0, 1.0, 1.01, 1.0, 1.0)
"""Samples around 1 that spread by 0.6 %."""


def metrics(level=1.0, *, shape=STEADY):
    """Speed and latency of something `level` times as fast as 100 tokens/s."""
    return {
        "tokens_per_s": summarise(
            [100 * level * each for each in shape], unit="tokens/s", better="higher"
        ),
        "latency_s": summarise([0.5 / (level * each) for each in shape], unit="s", better="lower"),
    }


def arm(level=1.0, *, cache="fixed", **settings):
    return {
        "choices": {"cache": cache, "measure": "default", "gate": "off"},
        "config": {
            "cache": {"max_len": None},
            "workload": {"batch_size": 4},
            "measure": {"trials": 4},
        }
        | settings,
        "weights": {"fingerprint": "abc"},
        "metrics": metrics(level),
    }


def compared(ratio=2.0, half_width=0.027):
    """A comparison in both metrics, known to this half-width of the logarithm."""
    each = {
        "ratio": ratio,
        "ci95": [ratio * math.exp(-half_width), ratio * math.exp(half_width)],
        "blocks": 12,
        "pairs": 48,
        "processes": 2,
    }
    return {name: dict(each) for name in ("tokens_per_s", "latency_s")}


def result(level=1.0, **changes):
    """A finished run of a candidate alone."""
    made = {
        "schema_version": 1,
        "status": "completed",
        "verdict": None,
        "verdict_reason": None,
        "arms": {"candidate": arm(level)},
        "cases": [],
        "environment": {
            "device_kind": "cpu",
            "cpu": "EPYC",
            "packages": {"jax": "0.10.2"},
            "xla_flags": None,
        },
    }
    return copy.deepcopy(made | changes)


def cases(levels):
    """{batch size: level}, as a workload with a grid reports it."""
    return [
        {
            "params": {"batch_size": size, "num_labels": 2},
            "arms": {"candidate": {"metrics": metrics(level)}},
        }
        for size, level in levels.items()
    ]


def write(path: Path, content) -> str:
    """The path, after a text or JSON was written there."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


HEADER = ",".join(COLUMNS)


def csv_text(*rows, header=HEADER):
    """A CSV of scores."""
    return "\n".join([header, *rows, ""])
