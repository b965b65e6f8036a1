"""The gate: is the candidate slower than a stored run, by more than a threshold and more than
noise?

`stored_result` is called before anything is measured, so that a file that cannot be used costs no
measurement; `gate_section` after the metrics are summed up. What it returns is `gate` in
`result.json`.

A level, such as tokens per second, moves from one run to the next with the machine. So where both
runs have measured the same baseline beside the candidate, the ratios are compared: candidate over
baseline now, against candidate over baseline then (`choice.comparable_runs` decides). Nearest to
the truth is a commit whose code is measured as the baseline itself: then nothing is stored.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxgen.errors import ExitCode
from jaxgen.gate.choice import Comparable, commit_notes, comparable_runs
from jaxgen.gate.measured import Measured, ratios_of, rows_of
from jaxgen.gate.noise import pooled
from jaxgen.gate.outcome import outcome_of
from jaxgen.gate.rows import compare_rows, moved
from jaxgen.gate.stored import Stored, StoredRuns, read_all
from jaxgen.results.schema import Gate, GateRow, Result
from jaxgen.specs.gate import GateSpec, Regression

_EXIT_CODES: dict[str, ExitCode] = {
    "passed": ExitCode.OK,
    "regression": ExitCode.REGRESSION,
    # A gate that could not have seen a regression has not been passed.
    "unsettled": ExitCode.INVALID,
    "nothing to compare": ExitCode.INVALID,
}


def stored_result(gate: GateSpec) -> StoredRuns | None:
    """Return what a run's gate compares with; None with `gate=off`.

    Raises:
        UserError: `gate.against` cannot be used.
    """
    match gate:
        case Regression(commit=str() as commit):
            return StoredRuns(f"commit {commit}")
        case Regression(against=tuple() as against):
            return read_all(against)
    return None


def gate_section(
    result: Result,
    stored: StoredRuns,
    *,
    threshold: float,
    noise_floor: float,
    across: bool = False,
) -> Gate:
    """Compare a run with stored ones; the section `gate` of `result.json`.

    Args:
        result: with the metrics of the arms (or of the cases), the configurations and the
            environment.
        stored: from `stored_result`.
        threshold: the share by which a metric may be worse.
        noise_floor: what levels cannot tell from nothing, as a share.
        across: compare with runs of other machines too.
    """
    if stored.runs:
        comparable = comparable_runs(result, stored, across=across)
        rows = _rows_against(result, comparable, threshold=threshold, noise_floor=noise_floor)
        notes = comparable.notes
        if comparable.by_ratio:
            notes += _baseline_notes(result, comparable.runs, noise_floor=noise_floor)
        refusal = comparable.refusal
    else:
        rows = _rows_against_commit(result, threshold=threshold)
        notes = commit_notes(result)
        refusal = "this run has no ratio of the two arms"
    status, reason = outcome_of(rows, threshold=threshold, refusal=refusal)
    return {
        "against": stored.against,
        "threshold": threshold,
        "noise_floor": noise_floor,
        "status": status,
        "reason": reason,
        "rows": rows,
        "notes": notes,
    }


def exit_code(gate: Mapping[str, Any]) -> ExitCode:
    """Return what a gate's section means for the run; a run that is invalid itself stays so."""
    return _EXIT_CODES[gate["status"]]


def _rows_against(
    result: Result, comparable: Comparable, *, threshold: float, noise_floor: float
) -> list[GateRow]:
    """Compare with stored runs: ratios where the baseline is the same, else levels."""
    if not comparable.runs:
        return []
    new_levels = rows_of(result)
    old_levels = _together([run.rows for run in comparable.runs])
    if not comparable.by_ratio:
        return compare_rows(new_levels, old_levels, threshold=threshold, noise_floor=noise_floor)
    new_ratios = ratios_of(result)
    old_ratios = _old_ratios(comparable.runs)
    rows = compare_rows(new_ratios, old_ratios, threshold=threshold, noise_floor=noise_floor)
    # A metric that is not the same in both arms, as where a batch's latency meets a prompt's, has
    # no ratio: its level may have moved as far as the baseline's did.
    keys = {row.key for row in (*new_ratios, *old_ratios)}
    drift = _baseline_drift(result, comparable.runs, noise_floor=noise_floor)
    rows += compare_rows(
        _without(keys, new_levels),
        _without(keys, old_levels),
        threshold=threshold,
        noise_floor=max(noise_floor, drift),
    )
    return rows


def _old_ratios(runs: Sequence[Stored]) -> list[Measured]:
    rows_by_run = []
    for run in runs:
        if run.result is not None:
            rows_by_run.append(ratios_of(run.result))
    return _together(rows_by_run)


def _without(keys: Collection[tuple[str, str]], rows: Sequence[Measured]) -> list[Measured]:
    return [row for row in rows if row.key not in keys]


def _baseline_drift(result: Result, runs: Sequence[Stored], *, noise_floor: float) -> float:
    """Return how far the baseline's level moved, as a share: up or down alike."""
    baseline = moved(_baseline_rows(result, runs, noise_floor=noise_floor))
    if baseline is None:
        return 0.0
    # 15 % fewer tokens/s are 18 % more seconds.
    distance = abs(math.log1p(baseline["change"]))
    return math.expm1(distance)


def _rows_against_commit(result: Result, *, threshold: float) -> list[GateRow]:
    """Judge the ratio of today's code and the commit's, which was measured in pairs."""
    new_rows = ratios_of(result)
    # The commit is held against itself: 1, which is known without noise.
    old_rows = [dataclasses.replace(row, value=1.0, half_width=0.0) for row in new_rows]
    return compare_rows(new_rows, old_rows, threshold=threshold, noise_floor=0.0)


def _together(rows_by_run: Sequence[Sequence[Measured]]) -> list[Measured]:
    """Return each case and metric of several runs once, in the order in which they come first."""
    by_key: dict[tuple[str, str], list[Measured]] = {}
    for rows in rows_by_run:
        for row in rows:
            by_key.setdefault(row.key, []).append(row)
    together = []
    for same in by_key.values():
        valued = [row for row in same if row.value is not None]
        together.append(pooled(valued) if valued else same[0])
    return together


def _baseline_rows(result: Result, runs: Sequence[Stored], *, noise_floor: float) -> list[GateRow]:
    """Return how the level of the baseline moved; nothing was changed in it."""
    old_rows = []
    for run in runs:
        if run.result is not None:
            old_rows.append(rows_of(run.result, "baseline"))
    # Not judged, only measured: how far it moved, and whether noise explains that.
    return compare_rows(
        rows_of(result, "baseline"), _together(old_rows), threshold=0, noise_floor=noise_floor
    )


def _baseline_notes(result: Result, runs: Sequence[Stored], *, noise_floor: float) -> list[str]:
    """Say how the baseline moved: what it shows is the machine, or code that both arms run."""
    baseline = moved(_baseline_rows(result, runs, noise_floor=noise_floor))
    if baseline is None:
        return []
    note = f"the baseline, unchanged, moved by {baseline['change']:+.1%} in {baseline['metric']}"
    if baseline["is_beyond_noise"]:
        causes = "the machine may have changed, or code that both arms run"
        return [f"{note}: {causes}; the ratio of the arms is compared"]
    return [f"{note}, which is within noise"]
