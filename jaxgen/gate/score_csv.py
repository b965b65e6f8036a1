"""scores.csv: one row for each case of a scoring grid, in the columns that `gate.against` reads."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from jaxgen.gate.stored import CSV_COLUMNS, environment_facts


def score_table(result: Mapping[str, Any]) -> str:
    """The candidate's figures as CSV; what is unknown (p99 below 100 calls) is left empty.

    Args:
        result: with cases of `batch_size` and `num_labels`, each measured.

    Example:
        batch_size,num_labels,num_runs,total_items,throughput_items_per_sec,latency_p50_ms,...,platform,device_kind
        4,2,20,80,1532.1,2.6,...,cpu,cpu
    """
    facts = environment_facts(result["environment"])
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=[*CSV_COLUMNS, *facts], lineterminator="\n")
    writer.writeheader()
    for case in result["cases"]:
        calls = case["arms"]["candidate"].get("calls")
        if calls and calls["n"]:
            writer.writerow(_row(case["params"], calls) | facts)
    return text.getvalue()


def _row(params: Mapping[str, int], calls: Mapping[str, Any]) -> dict[str, Any]:
    items = params["batch_size"] * calls["n"]
    return {
        "batch_size": params["batch_size"],
        "num_labels": params["num_labels"],
        "num_runs": calls["n"],
        "total_items": items,
        "throughput_items_per_sec": params["batch_size"] / calls["mean"],
        **{
            f"latency_{key}_ms": _milliseconds(calls[key])
            for key in ("p50", "p95", "p99", "mean", "std")
        },
    }


def _milliseconds(seconds: float | None) -> float | str:
    return "" if seconds is None else 1e3 * seconds
