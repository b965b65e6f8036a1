"""What may be said of finished measurements: a verdict per case, one for the run, an exit code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from jaxgen.errors import ExitCode
from jaxgen.measure.case import Outcome, beyond_probe, rooflines
from jaxgen.measure.drift import drift_note
from jaxgen.measure.spread import advice
from jaxgen.measure.verdict import verdict
from jaxgen.results import schema
from jaxgen.results.record import Record
from jaxgen.specs.arm import names_of
from jaxgen.specs.experiment import Experiment

DEFAULT_MARGIN = 0.02
"""Half the width of `equivalent`, unless `measure.margin` says otherwise."""

START_DRAW = 0.02
"""How far apart two pairs of processes of the same two arms were seen to lie, whatever their own
intervals said."""

_ONE_START = (
    f"one pair of processes was measured: another start can move a ratio by up to "
    f"{START_DRAW:.0%}, of which its interval knows nothing, and the margin is {{margin:.2%}}; "
    "measure.processes=5 would tell"
)


def margin_of(experiment: Experiment) -> tuple[float, str]:
    """Return the smallest difference that counts, as a share, and where the figure comes from.

    It is what matters to the user, and never what the machine can tell: that is in the interval.

    Args:
        experiment: with `measure.margin`.
    """
    if experiment.measure.margin is not None:
        return experiment.measure.margin, "measure.margin"
    return DEFAULT_MARGIN, "the default"


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
    for warning in _warnings(section, comparison, margin):
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
    section: schema.Result | schema.CaseResult,
    comparison: schema.Comparison | None,
    margin: float,
) -> list[str]:
    """Return what the reader of a verdict must know beside it."""
    agreement = section["agreement"]
    warnings = list(agreement["warnings"]) if agreement else []
    if _is_finer_than_a_start(comparison, section["verdict"], margin):
        warnings.append(_ONE_START.format(margin=margin))
    return warnings


def _is_finer_than_a_start(
    comparison: schema.Comparison | None, word: str | None, margin: float
) -> bool:
    """Return whether a verdict of one pair of processes claims more than one start can tell."""
    if comparison is None or comparison["processes"] > 1 or margin >= START_DRAW:
        return False
    # An interval of 1.08 to 1.10 is beyond what a start can do; one of 1.012 to 1.03 is not, as its
    # near end lies only 1.2 % from 1.
    if word in ("faster", "slower") and comparison["ci95"]:
        return min(abs(end - 1) for end in comparison["ci95"]) < START_DRAW
    return word == "equivalent"


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
        )
    return {"drift": drift, "outliers": outcome.samples.outliers(), "advice": text}
