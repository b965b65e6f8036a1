"""One question over time: runs of the same arms on the same machine, whatever the code was.

Runs belong together if both arms have the configuration and the weights that they had before, on
the same device and processor; versions of jaxgen and of jax may differ, as these are what a history
is looked at for.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jaxgen.gate.differences import changed_keys
from jaxgen.report import run_facts
from jaxgen.report.lookup import value_at
from jaxgen.report.points import whole_run
from jaxgen.report.settings import as_overrides, sides
from jaxgen.report.steps import Step, find_steps
from jaxgen.results.collection import StoredRun
from jaxgen.results.formatting import spoken
from jaxgen.results.schema import CaseResult, Comparison, Result

_NORMAL_QUANTILE = 1.96
"""Half a 95 % interval over the standard error."""

_MACHINE = ("device_kind", "device_count", "cpu", "cores")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One run in a history.

    Attributes:
        date: when it started, to the minute.
        commit: of the code, short; a plus behind it for changes that were not committed.
        ratio: candidate over baseline.
        interval: 95 %.
    """

    run: StoredRun
    date: str
    commit: str
    ratio: float
    interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Series:
    """The history of one question: both arms, and the case where a run has several.

    Attributes:
        title: what is compared.
        metric: whose ratio it is.
        entries: from the oldest to the newest.
        steps: where the ratio changed for good.
    """

    title: str
    metric: str
    entries: tuple[Entry, ...]
    steps: tuple[Step, ...]


def series_of(runs: Sequence[StoredRun]) -> tuple[list[Series], list[str]]:
    """Sort runs into histories.

    Args:
        runs: from the oldest to the newest.

    Returns:
        The histories of two runs or more, the longest first; and a clause for all that is in none.
    """
    families = _families(runs)
    histories = []
    alone = 0
    for family in families:
        named = _entries(family)
        alone += sum(len(entries) == 1 for entries in named.values())
        for (case, metric), entries in named.items():
            if len(entries) > 1:
                title = f"{_title(family[-1])} {case}".strip()
                histories.append(_series(title, metric, entries))
    histories.sort(key=lambda series: -len(series.entries))
    notes = []
    without = sum(not _compared(run.result) for run in runs)
    if without:
        notes.append(f"{without} of {len(runs)} runs have no ratio with an interval")
    if alone:
        notes.append(f"{alone} questions were measured once and have no history")
    return histories, notes


def _families(runs: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """Return the runs of each question, from the oldest to the newest."""
    families: dict[Any, list[list[StoredRun]]] = {}
    for run in runs:
        if not _compared(run.result):
            continue
        # Only runs that agree in what is cheap to look at are compared key by key.
        alike = families.setdefault(_machine_and_weights(run.result), [])
        for family in alike:
            if _same_question(run.result, family[-1].result):
                family.append(run)
                break
        else:
            alike.append([run])
    together = []
    for alike in families.values():
        together += alike
    return together


def _machine_and_weights(result: Result) -> tuple[str, ...]:
    environment = result.get("environment")
    facts = [value_at(environment, key) for key in _MACHINE]
    for arm in result["arms"].values():
        facts.append(value_at(arm, "weights", "fingerprint"))
        facts.append(value_at(arm, "choices", "cache"))
    # A baseline with code of its own is another question; a candidate's code is what changes.
    baseline = result["arms"].get("baseline")
    own_commit = value_at(baseline, "environment", "git", "commit")
    if own_commit != value_at(environment, "git", "commit"):
        facts.append(own_commit)
    return tuple(str(fact) for fact in facts)


def _same_question(now: Result, then: Result) -> bool:
    """Tell whether both arms of two runs are the same; a key that only one knows is no difference.

    A newer jaxgen has keys that an older one had not, and a history must live through that.
    """
    if now["arms"].keys() != then["arms"].keys():
        return False
    for name, arm in now["arms"].items():
        changes = changed_keys(arm, then["arms"][name])
        # Where a commit lay while it was measured says nothing of what it is.
        if any(not change.startswith("process.source ") for change in changes):
            return False
    return True


def _compared(result: Result) -> list[tuple[str, str, Comparison]]:
    """Return case, metric and comparison of what a run compared, in the verdict's metric."""
    sections: list[tuple[str, Result | CaseResult]] = []
    for case in result.get("cases") or []:
        params = {str(key): str(value) for key, value in case["params"].items()}
        sections.append((as_overrides(params), case))
    if not sections:
        sections.append(("", result))
    compared = []
    for case, section in sections:
        # The first metric is the one of the verdict; an invalid section has none to show.
        for metric, comparison in spoken(section).items():
            if comparison.get("ci95"):
                compared.append((case, metric, comparison))
            break
    return compared


def _entries(family: Sequence[StoredRun]) -> dict[tuple[str, str], list[Entry]]:
    """Return the entries of each case and metric of one question."""
    entries: dict[tuple[str, str], list[Entry]] = {}
    for run in family:
        for case, metric, comparison in _compared(run.result):
            low, high = comparison["ci95"] or (0.0, 0.0)
            entry = Entry(
                run,
                date=run_facts.date_of(run),
                commit=_commit_of(run),
                ratio=comparison["ratio"],
                interval=(low, high),
            )
            entries.setdefault((case, metric), []).append(entry)
    return entries


def _series(title: str, metric: str, entries: Sequence[Entry]) -> Series:
    logs = []
    errors = []
    for entry in entries:
        low, high = entry.interval
        logs.append(math.log(entry.ratio))
        errors.append(math.log(high / low) / 2 / _NORMAL_QUANTILE)
    return Series(title, metric, tuple(entries), tuple(find_steps(logs, errors)))


def _title(run: StoredRun) -> str:
    """Name a question by its model and by what its arms differ in."""
    described = " against ".join(sides(whole_run(run).arms, most=3))
    return f"{run_facts.model_of(run)}: {described or 'the candidate against itself'}"


def _commit_of(run: StoredRun) -> str:
    git = value_at(run.result.get("environment"), "git")
    commit = value_at(git, "commit")
    if not commit:
        return "unknown"
    dirty = "+" if value_at(git, "dirty") else ""
    return f"{str(commit)[:12]}{dirty}"
