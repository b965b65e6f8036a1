"""What a tracker is told of a run, read from what lies in its folder: plain values, and nothing of any tracker."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxgen.results.files import RESULT, TRIALS
from jaxgen.results.formatting import spoken
from jaxgen.results.reading import read_result, read_trial_rows
from jaxgen.results.schema import Result

COMPARED = (
    "case",
    "metric",
    "unit",
    "candidate",
    "baseline",
    "ratio",
    "ci_low",
    "ci_high",
    "p_value",
    "pairs",
    "blocks",
)
"""The columns of the comparison: medians of both arms, and what the pairs say."""

_OUTCOME = ("verdict", "verdict_reason", "started_at", "finished_at")


def read(folder: Path) -> tuple[Result, list[dict[str, str]]]:
    """The result and the trials of a run folder; no trials where none was made."""
    return read_result(folder / RESULT), read_trial_rows(folder / TRIALS)


def config(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """An arm's composed configuration, and what identifies the run."""
    told = result["arms"][arm]
    where = {key: result.get(key) for key in ("run_id", "command", "environment")}
    return known(
        {
            **told.get("config", {}),
            "arm": arm,
            "choices": told.get("choices"),
            "weights": told.get("weights"),
            **where,
        }
    )


def history(trials: Iterable[Mapping[str, str | None]], arm: str) -> list[dict[str, Any]]:
    """One row for each of an arm's trials, the void ones too, in their order; `index` counts them."""
    mine = [row for row in trials if row.get("arm") == arm]
    return [
        {
            "index": index,
            **{key: _value(text) for key, text in row.items() if key and key != "arm" and text},
        }
        for index, row in enumerate(mine)
    ]


def summary(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """An arm's figures without the samples; the comparison and the verdict too, which are about the candidate."""
    told = result["arms"][arm]
    facts: dict[str, Any] = {"status": result["status"]}
    if arm == "candidate":
        pairs = spoken(result)
        facts |= {key: result.get(key) for key in _OUTCOME}
        facts |= {"agreement": (result.get("agreement") or {}).get("status")}
        facts |= {"against_baseline": {name: _interval(each) for name, each in pairs.items()}}
    figures = {
        "metrics": {name: _figures(metric) for name, metric in told.get("metrics", {}).items()},
        "startup": {
            key: value
            for key, value in told.get("startup", {}).items()
            if not isinstance(value, list | dict)
        },
        "memory": {key: value for key, value in told.get("memory", {}).items() if key != "reasons"},
        "roofline": {
            key: told.get("roofline", {}).get(key) for key in ("mbu", "mfu", "bytes_per_step")
        },
        "compile": _compiles(told.get("compile", {})),
        "failure": {
            key: (told.get("failure") or {}).get(key) for key in ("kind", "message", "signal")
        },
    }
    return known(facts | figures)


def comparison(result: Mapping[str, Any]) -> list[list[Any]]:
    """A row of `COMPARED` for each metric, of each case where the workload has a grid."""
    blocks = result.get("cases") or [result]
    return [row for block in blocks for row in _compared(block)]


def known(value: Any) -> Any:
    """The value without what is not known: a tracker would draw a null as it likes."""
    if not isinstance(value, Mapping):
        return value
    kept = {str(key): known(each) for key, each in value.items() if each is not None}
    return {key: each for key, each in kept.items() if each != {}}


def _compared(block: Mapping[str, Any]) -> list[list[Any]]:
    case = ", ".join(f"{key}={value}" for key, value in block.get("params", {}).items())
    metrics = {name: arm.get("metrics", {}) for name, arm in block["arms"].items()}
    rows = []
    for metric, told in metrics.get("candidate", {}).items():
        pairs = spoken(block).get(metric) or {}
        low, high = pairs.get("ci95") or (None, None)
        medians = [
            metrics.get(name, {}).get(metric, {}).get("median")
            for name in ("candidate", "baseline")
        ]
        numbers = [
            pairs.get("ratio"),
            low,
            high,
            pairs.get("p_value"),
            pairs.get("pairs"),
            pairs.get("blocks"),
        ]
        rows.append([case, metric, told.get("unit"), *medians, *numbers])
    return rows


def _figures(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metric.items() if key not in ("samples", "better")}


def _compiles(told: Mapping[str, Any]) -> dict[str, Any]:
    events = told.get("events_per_trial") or []
    counted = {"events_in_trials": sum(events), "trials": len(events)} if events else {}
    return counted | {key: told.get(key) for key in ("warm", "void_trials")}


def _interval(pairs: Mapping[str, Any]) -> dict[str, Any]:
    low, high = pairs.get("ci95") or (None, None)
    return {
        "ratio": pairs.get("ratio"),
        "ci_low": low,
        "ci_high": high,
        "p_value": pairs.get("p_value"),
    }


def _value(text: str) -> int | float | str:
    """A cell of trials.csv as a number, if it is one."""
    if text in ("True", "False"):
        return int(text == "True")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
