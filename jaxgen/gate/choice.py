"""Which of the stored runs a gate can compare with, and whether by ratios or by levels."""

import dataclasses
from collections.abc import Sequence

from jaxgen.gate.commits import short
from jaxgen.gate.differences import (
    baseline_difference,
    changed_keys,
    differences,
    machine_differences,
)
from jaxgen.gate.stored import Stored, StoredRuns
from jaxgen.results.listing import first_few
from jaxgen.results.schema import Result

_MOST_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Comparable:
    """What is left of the stored runs.

    Attributes:
        runs: none where nothing can be compared; `refusal` then says why.
        by_ratio: candidate over baseline is compared, else the candidate's levels.
        notes: what a reader of the comparison must know.
        refusal: null where there are runs.
    """

    runs: tuple[Stored, ...]
    by_ratio: bool
    notes: list[str]
    refusal: str | None = None


def comparable_runs(result: Result, stored: StoredRuns, *, across: bool) -> Comparable:
    """Choose the runs that can be compared with, and how.

    Args:
        result: of this run.
        stored: all that was read.
        across: keep runs of other machines.
    """
    left_out = list(stored.left_out)
    notes: list[str] = []
    here = _of_this_machine(result, stored.runs, left_out, notes, across=across)
    if not here:
        named = first_few(left_out, most=_MOST_NAMED)
        refusal = f"no stored run is of this machine and software: {named}"
        remedy = "gate.across=true compares with it all the same"
        return Comparable((), False, notes, f"{refusal}; {remedy}")
    alike = _configured_alike(result, here, left_out)
    if not alike:
        named = first_few(left_out, most=_MOST_NAMED)
        return Comparable((), False, notes, f"no stored run has this candidate: {named}")
    runs, reason = _with_the_same_baseline(result, alike, left_out)
    notes += _differences_of_all(result, runs)
    if reason is None:
        notes += _code_notes(result, runs)
    else:
        notes.append(_levels_note(reason, len(runs)))
    if left_out:
        notes.append(f"left out: {first_few(left_out, most=_MOST_NAMED)}")
    return Comparable(tuple(runs), reason is None, notes)


def _of_this_machine(
    result: Result,
    runs: Sequence[Stored],
    left_out: list[str],
    notes: list[str],
    *,
    across: bool,
) -> list[Stored]:
    """Return the runs of this machine and software; with `across` all of them, and a note."""
    here = []
    for run in runs:
        changes = machine_differences(result, run)
        named = first_few(changes, most=_MOST_NAMED)
        if not changes:
            here.append(run)
        elif across:
            here.append(run)
            notes.append(f"the machine or its software is another: {named}")
        else:
            left_out.append(f"{run.path} (of another machine or software: {named})")
    return here


def _configured_alike(result: Result, runs: Sequence[Stored], left_out: list[str]) -> list[Stored]:
    """Return the runs whose candidate is configured as this one; one run alone stays, with a note.

    Figures of several questions have no common mean.
    """
    if len(runs) == 1:
        return list(runs)
    alike = []
    now = result["arms"].get("candidate", {})
    for run in runs:
        then = run.result["arms"].get("candidate", {}) if run.result is not None else {}
        keys = changed_keys(now, then)
        if keys:
            named = first_few(keys, most=_MOST_NAMED)
            left_out.append(f"{run.path} (its candidate is another: {named})")
        else:
            alike.append(run)
    return alike


def _with_the_same_baseline(
    result: Result, runs: Sequence[Stored], left_out: list[str]
) -> tuple[list[Stored], str | None]:
    """Return the runs that share the baseline, or all of them and why none does."""
    shared = []
    others = []
    for run in runs:
        reason = baseline_difference(result, run)
        if reason is None:
            shared.append(run)
        else:
            others.append((run, reason))
    if not shared:
        return list(runs), others[0][1]
    for run, reason in others:
        left_out.append(f"{run.path} ({reason})")
    return shared, None


def _differences_of_all(result: Result, runs: Sequence[Stored]) -> list[str]:
    """Return each difference once, of whichever runs have it."""
    notes: dict[str, None] = {}
    for run in runs:
        notes.update(dict.fromkeys(differences(result, run)))
    return list(notes)


def _levels_note(reason: str, count: int) -> str:
    """Say what the noise of a level does not hold."""
    note = f"levels are compared and not ratios, as {reason}"
    if count > 1:
        return f"{note}; how far the {count} stored runs scatter is in their noise"
    return (
        f"{note}: from one run to the next a level may move by 10 % and more with the machine, "
        "of which the noise of one stored run knows nothing; measure both with the same baseline, "
        "or give several runs as gate.against"
    )


def _code_notes(result: Result, runs: Sequence[Stored]) -> list[str]:
    """Say what a ratio does not show where the code of both arms has changed."""
    now = _commit_of(result)
    commits: dict[str, None] = {}
    for run in runs:
        then = _commit_of(run.result)
        if then and then != now:
            commits[short(then)] = None
    if not now or not commits:
        return []
    others = list(commits)
    named = first_few(others, most=_MOST_NAMED)
    then = f"the code is another than then (commit {named})"
    unseen = "what slows both arms alike does not show in their ratio"
    return [f"{then}: {unseen}; gate.commit={others[-1]} measures it"]


def commit_notes(result: Result) -> list[str]:
    """Say which two states of the code were measured, where a commit's is the baseline's."""
    now = (result.get("environment") or {}).get("git") or {}
    baseline = result["arms"].get("baseline") or {}
    then = (baseline.get("environment") or {}).get("git") or now
    notes = [f"the baseline is the code of commit {short(str(then.get('commit')))}"]
    if now.get("dirty"):
        notes.append("the candidate is the code of today, with changes that are not committed")
    elif now.get("commit") == then.get("commit"):
        notes.append("the candidate is the code of that very commit")
    return notes


def _commit_of(result: Result | None) -> str | None:
    if result is None:
        return None
    environment = result.get("environment") or {}
    git = environment.get("git") or {}
    return git.get("commit")
