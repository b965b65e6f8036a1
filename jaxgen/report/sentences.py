"""What a report says in sentences: how one run came out, and how all points did."""

from collections import Counter
from collections.abc import Sequence

from jaxgen.measure.simultaneous import simultaneous_interval
from jaxgen.report.failures import failed_arms, failure_of
from jaxgen.report.lookup import mean_with_unit, number_at, value_at
from jaxgen.report.points import Point
from jaxgen.results import formatting
from jaxgen.results.collection import StoredRun
from jaxgen.results.schema import Result, Selftest


def sentence_of(run: StoredRun) -> str:
    """Say how one run came out.

    Args:
        run: a run that ended.

    Returns:
        Of a failed run, which arm failed with what; else the verdict and the gate's outcome, or
        what a study found.
    """
    result = run.result
    # A failed run may hold a verdict over what it measured until then, which is not told.
    if result["status"] == "failed":
        return _failed_run(result)
    # The verdict comes before the gate: a regression says little of an invalid measurement.
    gate = _gate_outcome(result)
    verdict = result.get("verdict")
    if verdict:
        sentence = as_sentence(result.get("verdict_reason") or verdict)
        if gate:
            return f"{sentence} {gate}"
        return sentence
    study = _study_outcome(result)
    return study or gate or _candidate_alone(result)


def sentence_of_all(points: Sequence[Point], *, unread: int) -> str:
    """Say how many points came out in which way, and which stand out.

    Args:
        points: those of all runs.
        unread: how many runs cannot be shown.
    """
    total = len(points) + unread
    noun = "point" if total == 1 else "points"
    parts = [f"{total} {noun}: {_outcomes(points, unread)}"]
    # In a sweep the reader looks for the winner and for what got worse.
    best = _largest_gain(points)
    if best is not None:
        parts.append(_winner(best, count=_compared(points)))
    regressions = _regressions(points)
    if regressions:
        parts.append(f"the gate found a regression at {', '.join(regressions)}")
    text = "; ".join(parts)
    # Ratios against different baselines stand in one column, and yet cannot be compared.
    baselines = []
    for point in points:
        choices = value_at(point.arms, "baseline", "choices")
        if choices:
            baselines.append(choices)
    apart = formatting.baselines_apart(baselines)
    if apart:
        text += f". Note: {apart}"
    return as_sentence(text)


def badge(runs: Sequence[StoredRun]) -> str | None:
    """Return the one word for the top of the page; None where several runs need more."""
    # Several verdicts have no one word in common.
    if len(runs) != 1:
        return None
    result = runs[0].result
    if result["status"] == "failed":
        return "failed"
    return result.get("verdict")


def _failed_run(result: Result) -> str:
    failures = []
    for name, arm in failed_arms(result).items():
        failures.append(f"the {name}: {failure_of(arm)}")
    reason = "; ".join(failures) or "no arm says why: see its jaxgen.log"
    return as_sentence(f"the run failed; {reason}")


def _gate_outcome(result: Result) -> str | None:
    """Say what the gate found; None without a gate."""
    status = value_at(result, "gate", "status")
    reason = value_at(result, "gate", "reason")
    if not reason:
        return None
    if status == "passed":
        return as_sentence(f"the gate passed: {reason}")
    if status == "unsettled":
        return as_sentence(f"the gate is not settled: {reason}")
    outcome = "a regression" if status == "regression" else status
    return as_sentence(f"the gate found {outcome}: {reason}")


def _study_outcome(result: Result) -> str | None:
    """Say what a study found; None for any other run, and for a study that did not come so far."""
    calibration = result.get("calibration")
    deviation = number_at(calibration, "start_spread", "deviation")
    if calibration and deviation is not None:
        percent = f"{100 * deviation:.2f} %"
        key = calibration.get("key")
        count = len(calibration.get("comparisons", ()))
        return as_sentence(
            f"a start moves the ratio of equal arms by {percent} (one standard deviation, {count} "
            f"pairs of processes; {key})"
        )
    floor = number_at(calibration, "floor")
    if calibration and floor is not None:
        percent = f"{100 * floor:.2f} %"
        key = calibration.get("key")
        count = calibration.get("repetitions", "several")
        return as_sentence(f"the noise floor of {key} is {percent}, by {count} measurements")
    selftest = result.get("selftest")
    if selftest and selftest.get("rates"):
        return as_sentence(_rates_of(selftest))
    return None


def _rates_of(selftest: Selftest) -> str:
    """Say how often a selftest was right."""
    rates = selftest.get("rates", {})
    faults = selftest.get("faults") or {}
    left_alone = formatting.percent(rates.get("same_left_alone"))
    slowdown = formatting.percent(selftest.get("slowdown"))
    slowdown_found = formatting.percent(rates.get("slowdown_found"))
    found = []
    for name, fault in faults.items():
        if fault.get("found"):
            found.append(name)
    coverage = ""
    held, of = number_at(selftest, "coverage", "held"), number_at(selftest, "coverage", "of")
    if held is not None and of is not None:
        coverage = f"{held:.0f} of {of:.0f} intervals of equal arms hold 1, "
    return (
        f"equal arms were left alone in {left_alone} of the measurements, {coverage}"
        f"a slowdown of {slowdown} was found in {slowdown_found}, "
        f"and {len(found)} of {len(faults)} faults were found"
    )


def _candidate_alone(result: Result) -> str:
    candidate = result["arms"]["candidate"]
    metrics = candidate.get("metrics", {})
    primary = next(iter(metrics), None)
    if primary is None:
        return as_sentence("no verdict")
    mean = mean_with_unit(candidate, primary)
    return as_sentence(f"one arm was measured, without a baseline: {mean}")


def _outcomes(points: Sequence[Point], unread: int) -> str:
    """Count the verdicts, the most frequent first: `2 faster, 1 invalid, 1 not shown`."""
    counts: Counter[str] = Counter()
    for point in points:
        if point.run.result["status"] == "failed":
            counts["failed"] += 1
        else:
            counts[point.verdict or "no verdict"] += 1
    if unread:
        # They count as points: a sweep of 10 of which 3 cannot be read is no sweep of 7.
        counts["not shown"] = unread
    outcomes = []
    # The most frequent outcome says most of a sweep.
    for outcome, count in counts.most_common():
        outcomes.append(f"{count} {outcome}")
    return ", ".join(outcomes)


def _compared(points: Sequence[Point]) -> int:
    """Return among how many points the largest gain was looked for."""
    ratios = [point.ratio for point in points if point.ratio is not None]
    return len(ratios)


def _winner(best: Point, *, count: int) -> str:
    """Name the point with the largest gain, and what is left of it for who chose the best."""
    assert best.ratio is not None
    ratio = formatting.ratio_and_interval(best.ratio)
    if count == 1:
        return f"the largest gain is {ratio} times, at {best.label}"
    # The best of many is in part the luckiest of many.
    interval = simultaneous_interval(best.ratio, count=count)
    widened = {**best.ratio, "ci95": list(interval) if interval else None}
    ratio = formatting.ratio_and_interval(widened)
    return (
        f"the largest gain of {count} points is {ratio} times, at {best.label} (an interval for "
        f"the best of {count}; measured again, expect it smaller)"
    )


def _largest_gain(points: Sequence[Point]) -> Point | None:
    """Return the point with the largest ratio among those whose gain is beyond doubt."""
    best, largest = None, 0.0
    for point in points:
        comparison = point.ratio
        # The largest ratio of all may be noise: an inconclusive 1.3 is no winner over a sure 1.2.
        if comparison is None or point.verdict != "faster":
            continue
        if comparison["ratio"] > largest:
            best, largest = point, comparison["ratio"]
    return best


def _regressions(points: Sequence[Point]) -> list[str]:
    """Name the points whose gate found a regression; a run with cases once, as its gate is one."""
    names = []
    for point in points:
        result = point.run.result
        if value_at(result, "gate", "status") != "regression":
            continue
        # A gate is over all cases of a run, and no single case is to blame.
        has_cases = bool(result.get("cases"))
        names.append(point.run.name if has_cases else point.label)
    return list(dict.fromkeys(names))


def as_sentence(text: str) -> str:
    """Begin with a capital, but for a setting such as `cache=fixed`, and end with a full stop."""
    text = " ".join(text.split())
    first_word = text.split(" ", 1)[0]
    # A key is typed as it is, and has no capitals.
    if "=" not in first_word:
        text = text[:1].upper() + text[1:]
    if text.endswith((".", "!", "?")):
        return text
    return f"{text}."
