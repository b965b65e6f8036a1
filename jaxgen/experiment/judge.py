"""What may be said of finished measurements: a verdict per case, one for the run, an exit code."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from jaxgen.errors import ExitCode
from jaxgen.measure.case import Outcome, beyond_probe, rooflines
from jaxgen.measure.drift import drift_note
from jaxgen.measure.interval import PROCESSES_FOR_STUDENT, TRIM
from jaxgen.measure.spread import advice
from jaxgen.measure.verdict import verdict
from jaxgen.results import schema
from jaxgen.results.record import Record
from jaxgen.specs.arm import names_of
from jaxgen.specs.experiment import Experiment


def margin_of(experiment: Experiment) -> tuple[float, str]:
    """Return the smallest difference that counts, as a share, and where the figure comes from.

    It is what matters to the user, and never what the machine can tell: that is in the interval.

    Args:
        experiment: with `measure.margin`.
    """
    plan = experiment.measure
    source = "the default" if plan.margin is None else "measure.margin"
    return plan.least_difference, source


def judge_case(experiment: Experiment, record: Record, outcome: Outcome, *, case: int) -> None:
    """Put the figures and the verdict of one case into its section of the result.

    Args:
        experiment: the arms, and how they were measured.
        record: of the run.
        outcome: all trials and outputs of the case.
        case: the number of the case.
    """
    names = names_of(experiment.arms)
    samples = outcome.samples
    comparisons = samples.comparison()
    record.show(samples.summaries(), comparisons, case=case)
    section = record.section(case)
    # Impossible figures are found first: whatever they say, no verdict may rest on them.
    dirty = [*outcome.dirty, *samples.problems()]
    dirty += _add_rooflines(names, record, outcome, case=case)
    comparison = comparisons.get(samples.primary)
    section["stability"] = _stability(outcome, comparison, names=names, record=record)
    section["agreement"] = outcome.agreed
    margin, source = margin_of(experiment)
    _set_verdict(section, comparison, dirty, names=names, margin=margin, source=source)
    for warning in _warnings(section, comparison):
        record.note(warning)
    if section["verdict"] == "invalid":
        section["comparison"] = {}  # no speed-up is shown of what may be wrong
    measurement = _measurement(outcome, margin=margin, source=source)
    if section is record.result:
        # Beside what stands there already, such as the isolation.
        record.result["measurement"].update(measurement)
    else:
        section["measurement"] = measurement


def _measurement(outcome: Outcome, *, margin: float, source: str) -> schema.Measurement:
    """Return how a case was measured."""
    return {
        "margin": margin,
        "margin_source": source,
        "stopped_because": outcome.stopped_because,
        "repeats": outcome.repeats,
    }


def advise(record: Record) -> None:
    """Note what would settle a measurement that did not settle anything."""
    stability = record.result.get("stability")
    if record.result["verdict"] == "inconclusive" and stability and stability["advice"]:
        record.note(stability["advice"])


def judge_grid(record: Record) -> None:
    """Give one verdict over all cases: theirs if they agree, `invalid` if any is."""
    cases = record.result["cases"]
    counts = Counter(case["verdict"] for case in cases)
    parts = [f"{word} in {count}" for word, count in counts.most_common() if word]
    record.result["verdict_reason"] = None
    if parts:
        record.result["verdict_reason"] = f"of {len(cases)} cases: {', '.join(parts)}"
    # One invalid case spoils the grid: whatever broke the clock or the outputs may be in the others
    # too. Faster in one and slower in another is no verdict on the whole.
    if counts["invalid"]:
        record.result["verdict"] = "invalid"
    elif len(counts) == 1:
        record.result["verdict"] = next(iter(counts))
    else:
        record.result["verdict"] = "inconclusive"


def exit_code(result: Mapping[str, Any], codes: Sequence[ExitCode] = ()) -> ExitCode:
    """Return 20 where the measurement is invalid, whatever else; then the worst of `codes`."""
    if result["verdict"] == "invalid":
        return ExitCode.INVALID
    return max(codes, default=ExitCode.OK)


def _set_verdict(
    section: schema.Result | schema.CaseResult,
    comparison: schema.Comparison | None,
    dirty: list[str],
    *,
    names: Mapping[str, str],
    margin: float,
    source: str,
) -> None:
    """Set the verdict of the candidate against the baseline, and its reason."""
    if len(names) < 2:
        # One arm alone is not compared, but it can be measured wrongly.
        if dirty:
            section["verdict"] = "invalid"
            section["verdict_reason"] = f"the measurement is invalid: {'; '.join(dirty)}"
        return
    agreement = section["agreement"]
    # The verdict names the outputs' own reasons, such as NaN, before what spoilt the trials.
    reasons = agreement["reasons"] if agreement else []
    section["verdict"], section["verdict_reason"] = verdict(
        comparison,
        margin=margin,
        margin_source=source,
        agreement=agreement["status"] if agreement else None,
        dirty=[*reasons, *dirty],
        candidate=names["candidate"],
        baseline=names["baseline"],
    )


def _warnings(
    section: schema.Result | schema.CaseResult, comparison: schema.Comparison | None
) -> list[str]:
    """Return what the reader of a verdict must know beside it."""
    agreement = section["agreement"]
    warnings = list(agreement["warnings"]) if agreement else []
    if comparison is not None and comparison["ci95"]:
        warnings += _warnings_of_interval(comparison, comparison["ci95"])
    return warnings


def _warnings_of_interval(comparison: schema.Comparison, interval: list[float]) -> list[str]:
    """Return what makes an interval doubtful, or wider than the plan promised."""
    warnings = []
    few = 1 < comparison["processes"] < PROCESSES_FOR_STUDENT
    has_blocks = comparison["blocks"] > comparison["processes"]
    if few and has_blocks and comparison.get("start_spread") is None:
        warnings.append(
            f"the {comparison['processes']} pairs of processes lie further apart than starts are "
            "known to: the interval rests on their own means alone, and is wide; "
            "measure.processes=6 would narrow it"
        )
    trimmed = comparison.get("trimmed")
    if trimmed is None:
        return warnings
    # One arm's slow trials move the mean and not the trimmed mean: which is right is the user's to
    # say.
    half_width = math.log(interval[1] / interval[0]) / 2
    if abs(math.log(trimmed["ratio"] / comparison["ratio"])) > half_width:
        warnings.append(
            f"a few blocks move the ratio: without the {TRIM:.0%} highest and lowest it is "
            f"{trimmed['ratio']:.3f} instead of {comparison['ratio']:.3f}; the outliers say which "
            "trials, and whether they are one arm's"
        )
    return warnings


def _add_rooflines(
    names: Mapping[str, str], record: Record, outcome: Outcome, *, case: int
) -> list[str]:
    """Put each arm's absolute scale into its section; return what is impossible about it."""
    problems = []
    for arm, name in names.items():
        facts, impossible = rooflines(outcome, arm)
        section = record.arm_section(arm, case=case)
        section["roofline"] = cast(schema.Roofline, {**section.get("roofline", {}), **facts})
        beyond = beyond_probe(facts)
        # Far beyond the probe the clock must be wrong; a little beyond it, the probe was disturbed.
        if impossible:
            problems.append(f"{name} {impossible}")
        elif beyond:
            record.note(f"{name} {beyond}")
    return problems


def _stability(
    outcome: Outcome,
    comparison: schema.Comparison | None,
    *,
    names: Mapping[str, str],
    record: Record,
) -> schema.Stability:
    """Return how steady the machine was, and what would narrow the interval."""
    drift = outcome.samples.drift()
    note = drift_note(drift, names)
    if note:
        record.note(note)
    text = None
    if comparison is not None:
        text = advice(
            comparison["spread"],
            blocks=comparison["blocks"],
            pairs=comparison["pairs"],
            processes=comparison["processes"],
            start=comparison.get("start_spread"),
        )
    return {"drift": drift, "outliers": outcome.samples.outliers(), "advice": text}
