"""The benchmark benchmarked: equal arms, a known slowdown, and every fault that must be found."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode
from jaxgen.executor.pool import Pool, start_order
from jaxgen.experiment import selftest_continued
from jaxgen.experiment.judge import margin_of
from jaxgen.experiment.repetitions import Repetitions, require_same, start_repetitions
from jaxgen.experiment.selftest_continued import Earlier
from jaxgen.measure.verdict import verdict
from jaxgen.results import schema
from jaxgen.results.files import LOG, RESULT
from jaxgen.results.record import Record
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.fault import Fault
from jaxgen.specs.study import Selftest

FAULTS: dict[str, tuple[Fault, str]] = {
    "recompile": (Fault(recompile=True), "compiled in"),
    "wrong_token": (Fault(wrong_token=True), "outputs"),
    "nan_weights": (Fault(nan_weights=True), "NaN"),
    "clock": (Fault(clock=1e-3), "the timer is wrong"),
}
"""Each fault, and what the reason of the verdict must say of it."""

GOOD_RATE = 0.95

MeasureOnce = Callable[[Experiment, Record, Console], ExitCode]


def selftest(
    experiment: Experiment, record: Record, console: Console, *, measure_once: MeasureOnce
) -> ExitCode:
    """Measure, and say how often jaxgen was right (`study=selftest`).

    Args:
        experiment: two equal arms, and how often they are measured.
        record: gets every verdict.
        console: shows the progress.
        measure_once: makes one whole measurement; a fault must make it invalid.

    Returns:
        0 where equal arms were left alone and the slowdown was found in 95 % of the measurements,
        and every fault was found; else 20.

    Raises:
        UserError: the arms are not the same.
        ArmFailed: as in any run; what was measured until then is on disk.
    """
    require_same(experiment.arms, study="selftest")
    study = experiment.study
    assert isinstance(study, Selftest)
    section: schema.Selftest = {"same": [], "slowed": [], "slowdown": study.slowdown, "faults": {}}
    record.result["selftest"] = section
    earlier = selftest_continued.earlier(study, record)
    left = study.repetitions - (len(earlier.same) if earlier else 0)
    for process in range(min(study.processes, left)):
        # Dealt out like cards: 100 measurements over 8 processes are 13 in four, 12 in the others.
        count = len(range(process, left, study.processes))
        _measure_verdicts(
            experiment, record, console, process=process, count=count, earlier=earlier
        )
    # Faults come last, as an arm that a fault brings down would end the whole self-test.
    if study.faults:
        _measure_faults(experiment, record, console, section, measure_once=measure_once)
    failures = _failures(section)
    if not failures:
        return ExitCode.OK
    record.result["verdict"] = "invalid"
    record.result["verdict_reason"] = f"the self-test failed: {'; '.join(failures)}"
    return ExitCode.INVALID


def _measure_verdicts(
    experiment: Experiment,
    record: Record,
    console: Console,
    *,
    process: int,
    count: int,
    earlier: Earlier | None,
) -> None:
    """Measure equal arms and the slowed candidate in turn, in one pair of processes."""
    study, section = experiment.study, record.result.get("selftest")
    assert isinstance(study, Selftest)
    assert section is not None
    number = _next_process(section, earlier)
    arms = start_order(experiment.arms, number, seed=experiment.measure.seed)
    isolation = experiment.measure.isolation
    with Pool(arms, isolation=isolation, log=record.folder / LOG) as pool:
        if process == 0:
            _note_conditions(experiment, record, section, pool)
            # Only now are this machine and its margin known, which the earlier ones must have had
            # too.
            if earlier:
                selftest_continued.add(earlier, record)
        first = len(section["same"]) + len(section["slowed"])
        numbers = {"first": first, "process": number, "process_of_run": process}
        repetitions = start_repetitions(experiment, pool, record, console, arms=arms, **numbers)
        # The candidate's extra work is compiled in both processes, so that they stay alike.
        pool.call("baseline", "inject_fault", fault={"slowdown": study.slowdown})
        pool.call("baseline", "inject_fault", fault={})
        for _ in range(count):
            _measure_both_kinds(repetitions, section, number=number)
            record.save()
            console.repetition(len(section["same"]), study.repetitions, study="selftest")


def _measure_faults(
    experiment: Experiment,
    record: Record,
    console: Console,
    section: schema.Selftest,
    *,
    measure_once: MeasureOnce,
) -> None:
    """Make a whole measurement with each fault; each outcome is on disk before the next begins."""
    for name, (fault, words) in FAULTS.items():
        folder_record = _faulty_record(experiment, name, fault, record=record)
        section["faults"][name] = _measure_fault(
            *folder_record, name=name, words=words, console=console, measure_once=measure_once
        )
        record.save()


def _note_conditions(
    experiment: Experiment, record: Record, section: schema.Selftest, pool: Pool
) -> None:
    """Note where the first workers run, and by which margin they are judged."""
    record.environment(pool.environments, isolation=pool.isolation)
    section["margin"], _ = margin_of(experiment)


def _measure_both_kinds(repetitions: Repetitions, section: schema.Selftest, *, number: int) -> None:
    """Measure the equal arms, and then the slowed candidate."""
    margin = section.get("margin")
    assert margin is not None, "the first pair of processes has set it"
    # In turn, so that a machine which drifts over an hour does the same to both kinds.
    same = _judged(repetitions, {}, number=number, margin=margin)
    section["same"].append(same)
    slowdown = {"slowdown": section["slowdown"]}
    slowed = _judged(repetitions, slowdown, number=number, margin=margin)
    section["slowed"].append(slowed)
    # Now, so that a run which is stopped has the rates of what it measured.
    section["rates"] = _rates(section)


def _next_process(section: schema.Selftest, earlier: Earlier | None) -> int:
    """Return the number of the next pair of processes, those of an earlier run counted."""
    measured = section["same"]
    if not measured and earlier:
        measured = earlier.same
    # A resumed self-test has processes of its own: pairs of two starts must not share a number, and
    # the order of starting goes on alternating.
    last = -1
    for judged in measured:
        last = max(last, judged["process"])
    return last + 1


def _judged(
    repetitions: Repetitions, fault: dict[str, Any], *, number: int, margin: float
) -> schema.Repetition:
    """Make one measurement; return its comparison and the verdict on it."""
    comparison, dirty = repetitions.measure(**fault)
    # No outputs are compared here: this is about times alone, and a wrong token has a run of its
    # own.
    word, reason = verdict(comparison, margin=margin, agreement="identical", dirty=dirty)
    judged: schema.Repetition = {"process": number, "verdict": word, "reason": reason}
    if comparison is not None:
        judged.update(comparison)  # type: ignore[typeddict-item]  # has the same keys
    return judged


def _faulty_record(
    experiment: Experiment, name: str, fault: Fault, *, record: Record
) -> tuple[Experiment, Record]:
    """Return the experiment with the fault in its candidate, and a record of its own."""
    folder = record.folder / "faults" / name
    folder.mkdir(parents=True, exist_ok=True)
    candidate = experiment.candidate
    # In the candidate alone: a fault in both arms would make two arms that agree.
    faulty = dataclasses.replace(candidate, run=dataclasses.replace(candidate.run, fault=fault))
    broken = dataclasses.replace(experiment, arms={**experiment.arms, "candidate": faulty})
    return broken, Record(broken.arms, folder)


def _measure_fault(
    broken: Experiment,
    own: Record,
    *,
    name: str,
    words: str,
    console: Console,
    measure_once: MeasureOnce,
) -> schema.InjectedFault:
    """Make one whole measurement with a fault; return whether its reason names the fault."""
    own.start()
    try:
        code = measure_once(broken, own, console)
    except BaseException:
        own.finish("failed", ExitCode.ARM_FAILED)
        raise
    own.finish("completed", code)
    reason = own.result["verdict_reason"] or ""
    return {
        "verdict": own.result["verdict"],
        "reason": reason,
        # Invalid for another reason is not found: the reason must name the fault that was put in.
        "found": own.result["verdict"] == "invalid" and words in reason,
        "result": f"faults/{name}/{RESULT}",
    }


def _failures(section: Mapping[str, Any]) -> list[str]:
    """Return what was not as it should be."""
    texts = {
        "same_left_alone": "equal arms were left alone",
        "slowdown_found": f"a slowdown of {100 * section['slowdown']:.3g} % was found",
    }
    failures = []
    for name, rate in section["rates"].items():
        if rate < GOOD_RATE:
            failures.append(f"{texts[name]} in {100 * rate:.3g} % of the measurements only")
    for name, fault in section["faults"].items():
        if not fault["found"]:
            failures.append(f"the fault {name} was not found")
    return failures


def _rates(section: Mapping[str, Any]) -> dict[str, float]:
    """Return how many of the measurements so far ended as they should, as shares."""
    return {
        # `inconclusive` leaves equal arms alone as well: it claims no difference.
        "same_left_alone": _rate(section["same"], "equivalent", "inconclusive"),
        "slowdown_found": _rate(section["slowed"], "slower"),
    }


def _rate(measured: list[dict[str, Any]], *right: str) -> float:
    counts = Counter(judged["verdict"] for judged in measured)
    return sum(counts[word] for word in right) / len(measured)
