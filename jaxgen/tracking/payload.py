"""What a tracker is given of a run: plain values, read from the run folder.

Nothing here knows any tracker.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxgen.results.files import RESULT, TRIALS
from jaxgen.results.formatting import spoken
from jaxgen.results.means import mean_of
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
"""The columns of the comparison: geometric means of both arms, then what the pairs say."""

_OUTCOME = ("verdict", "verdict_reason", "started_at", "finished_at")
_IDENTITY = ("run_id", "command", "environment")


def read(folder: Path) -> tuple[Result, list[dict[str, str]]]:
    """Read the result and the trials of a run folder; no trials where none was made."""
    return read_result(folder / RESULT), read_trial_rows(folder / TRIALS)


def config(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """Return an arm's composed configuration, and what identifies the run."""
    section = result["arms"][arm]
    entries = dict(section.get("config", {}))
    entries["arm"] = arm
    entries["choices"] = section.get("choices")
    entries["weights"] = section.get("weights")
    for key in _IDENTITY:
        entries[key] = result.get(key)
    return without_nulls(entries)


def history(trials: Iterable[Mapping[str, str | None]], arm: str) -> list[dict[str, Any]]:
    """Return a row for each of an arm's trials, the void ones too, numbered by `index`."""
    rows = []
    for trial in trials:
        if trial.get("arm") != arm:
            continue
        row: dict[str, Any] = {"index": len(rows)}
        for key, text in trial.items():
            # A row that is longer than the header has its rest under the key None.
            if key and key != "arm" and text:
                row[key] = _value(text)
        rows.append(row)
    return rows


def summary(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """Return an arm's figures without the samples.

    The comparison and the verdict are about the candidate, and stand in its summary alone.
    """
    facts: dict[str, Any] = {"status": result["status"]}
    if arm == "candidate":
        facts |= _judgement(result)
    return without_nulls(facts | _figures(result["arms"][arm]))


def comparison(result: Mapping[str, Any]) -> list[list[Any]]:
    """Return a row of `COMPARED` for each metric, of each case where the workload has a grid."""
    rows = []
    for section in result.get("cases") or [result]:
        rows += _comparison_rows(section)
    return rows


def without_nulls(value: Any) -> Any:
    """Return the value without what is unknown: a tracker would draw a null as it likes."""
    if not isinstance(value, Mapping):
        return value
    filled = {}
    for key, entry in value.items():
        cleaned = None if entry is None else without_nulls(entry)
        # A section of nulls alone says nothing either.
        if cleaned is not None and cleaned != {}:
            filled[str(key)] = cleaned
    return filled


def _judgement(result: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for key in _OUTCOME:
        facts[key] = result.get(key)
    agreement = result.get("agreement") or {}
    facts["agreement"] = agreement.get("status")
    # Without a verdict that allows it, no ratio is told anywhere.
    ratios = spoken(result)
    against_baseline = {}
    for metric, pairs in ratios.items():
        against_baseline[metric] = _interval(pairs)
    facts["against_baseline"] = against_baseline
    return facts


def _figures(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an arm's section holds that is one number or one word."""
    metrics = {}
    for name, metric in section.get("metrics", {}).items():
        # The samples are in the history, trial by trial.
        metrics[name] = _without(metric, ("samples", "better"))
    startup = {}
    for key, value in section.get("startup", {}).items():
        if not isinstance(value, list | dict):
            startup[key] = value
    return {
        "metrics": metrics,
        "startup": startup,
        "memory": _without(section.get("memory", {}), ("reasons",)),
        "roofline": _only(section.get("roofline", {}), ("mbu", "mfu", "bytes_per_step")),
        "compile": _compiles(section.get("compile", {})),
        # A traceback is for the log.
        "failure": _only(section.get("failure") or {}, ("kind", "message", "signal")),
    }


def _comparison_rows(section: Mapping[str, Any]) -> list[list[Any]]:
    """Return the rows of a result, or of one case."""
    params = section.get("params", {})
    case = ", ".join(f"{key}={value}" for key, value in params.items())
    metrics = {}
    for name, arm in section["arms"].items():
        metrics[name] = arm.get("metrics", {})
    candidate = metrics.get("candidate", {})
    baseline = metrics.get("baseline", {})
    ratios = spoken(section)
    rows = []
    for metric, figures in candidate.items():
        # Without a baseline, or a verdict that allows a ratio, the cells stay empty.
        other = baseline.get(metric, {})
        pairs = ratios.get(metric) or {}
        row = [case, metric, figures.get("unit")]
        row += [mean_of(figures), mean_of(other)]
        row += _interval(pairs).values()
        row += [pairs.get("pairs"), pairs.get("blocks")]
        rows.append(row)
    return rows


def _compiles(section: Mapping[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    events = section.get("events_per_trial") or []
    if events:
        figures = {"events_in_trials": sum(events), "trials": len(events)}
    figures["warm"] = section.get("warm")
    figures["void_trials"] = section.get("void_trials")
    return figures


def _interval(pairs: Mapping[str, Any]) -> dict[str, Any]:
    low, high = pairs.get("ci95") or (None, None)
    return {
        "ratio": pairs.get("ratio"),
        "ci_low": low,
        "ci_high": high,
        "p_value": pairs.get("p_value"),
    }


def _only(section: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: section.get(key) for key in keys}


def _without(section: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


def _value(text: str) -> int | float | str:
    """Return a cell of trials.csv as a number, if it is one."""
    # wandb draws numbers only.
    if text in ("True", "False"):
        return int(text == "True")
    # int comes first, so that a count stays whole; float would take it as well.
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
