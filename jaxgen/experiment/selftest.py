"""The benchmark benchmarked: equal arms, a known slowdown, and every fault that must end a run as invalid."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode, UserError
from jaxgen.executor.pool import Pool, start_order
from jaxgen.experiment import single
from jaxgen.experiment.judge import margin_of
from jaxgen.experiment.repetitions import Repetitions, require_same
from jaxgen.experiment.session import Session
from jaxgen.measure.case import Facts
from jaxgen.measure.verdict import verdict
from jaxgen.results import schema
from jaxgen.results.files import LOG, RESULT
from jaxgen.results.identity import comparable_config
from jaxgen.results.reading import Unreadable, read_result
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
_MACHINE = ("cpu", "cores", "device_kind", "device_count")
_PACKAGES = ("jaxgen", "jax", "jaxlib")
"""What must be the same for measurements of two runs to count together, beside all that was asked."""


def selftest(experiment: Experiment, record: Record, console: Console) -> ExitCode:
    """Measure, and say how often jaxgen was right (`study=selftest`).

    Returns:
        0 where equal arms were left alone and the slowdown was found in 95 % of the measurements, and every fault was
        found; else 20.

    Raises:
        UserError: the arms are not the same.
        ArmFailed: as in any run; what was measured until then is on disk.
    """
    require_same(experiment.arms, study="selftest")
    study = experiment.study
    assert isinstance(study, Selftest)
    told: schema.Selftest = {
        "same": [],
        "slowed": [],
        "slowdown": study.slowdown,
        "faults": {},
    }
    record.result["selftest"] = told
    earlier = _earlier(study, record)
    left = study.repetitions - len(earlier.get("same", ()))
    for process in range(min(study.processes, left)):
        count = len(range(process, left, study.processes))
        _repeat(experiment, study, record, console, process=process, count=count, earlier=earlier)
    if study.faults:
        for name, (fault, words) in FAULTS.items():
            told["faults"][name] = _with_fault(
                experiment, name, fault, words, record=record, console=console
            )
            record.save()
    failures = _failures(told)
    if not failures:
        return ExitCode.OK
    record.result["verdict"] = "invalid"
    record.result["verdict_reason"] = f"the self-test failed: {'; '.join(failures)}"
    return ExitCode.INVALID


def _failures(told: Mapping[str, Any]) -> list[str]:
    """What was not as it should be."""
    words = {
        "same_left_alone": "equal arms were left alone",
        "slowdown_found": f"a slowdown of {100 * told['slowdown']:.3g} % was found",
    }
    rates = {words[name]: rate for name, rate in told["rates"].items() if rate < GOOD_RATE}
    missed = [name for name, fault in told["faults"].items() if not fault["found"]]
    return [
        *(f"{what} in {100 * rate:.3g} % of the measurements only" for what, rate in rates.items()),
        *(f"the fault {name} was not found" for name in missed),
    ]


def _repeat(
    experiment: Experiment,
    study: Selftest,
    record: Record,
    console: Console,
    *,
    process: int,
    count: int,
    earlier: Facts,
) -> None:
    """One pair of processes' share: equal arms and the slowed candidate in turn, so many times."""
    told = record.result.get("selftest")
    assert told is not None
    number = 1 + max(
        (each.get("process", -1) for each in (told["same"] or earlier.get("same", ()))), default=-1
    )
    turn = start_order(experiment.arms, number)
    plan = experiment.measure
    with Pool(turn, isolation=plan.isolation, log=record.folder / LOG) as pool:
        if process == 0:
            record.environment(pool.environments, isolation=pool.isolation)
        margin, _ = margin_of(experiment, record.result["environment"])
        told["margin"] = margin
        if process == 0 and earlier:
            _take_in(earlier, record)
        session = Session(turn, pool, record, console, plan=plan, process=process)
        measured = len(told["same"]) + len(told["slowed"])
        repetitions = Repetitions(
            turn, pool, session, record, plan=plan, first=measured, process=number
        )
        for fault in (
            {"slowdown": study.slowdown},
            {},
        ):  # the candidate's extra work is compiled in both processes
            pool.call("baseline", "inject_fault", fault=fault)
        for _ in range(count):
            for kind, fault in (("same", {}), ("slowed", {"slowdown": study.slowdown})):
                comparison, dirty = repetitions.once(**fault)
                word, reason = verdict(
                    comparison, margin=margin, agreement="identical", dirty=dirty
                )
                told[kind].append(
                    {"process": number, "verdict": word, "reason": reason, **(comparison or {})}
                )
            told["rates"] = _rates(
                told
            )  # so that a run which is stopped has those of what it measured
            record.save()
            console.repetition(len(told["same"]), study.repetitions, study="selftest")


def _earlier(study: Selftest, record: Record) -> Facts:
    """What a self-test that was stopped has measured, by the same plan; nothing where none is continued.

    Raises:
        UserError: there is no such result, or its plan is another.
    """
    if study.continues is None:
        return {}
    try:
        result = read_result(Path(study.continues).expanduser() / RESULT)
        told = result.get("selftest")
        problem = None if told else "it is of no self-test"
    except Unreadable as error:
        result, told, problem = record.result, None, error
    if told is None:
        raise UserError(
            f"study.continues={study.continues} cannot be continued: {problem}; give the run folder of a self-test "
            "that was stopped"
        )
    theirs, ours = (_asked(each) for each in (result, record.result))
    others = sorted(group for group in {*theirs, *ours} if theirs.get(group) != ours.get(group))
    others += [] if told.get("slowdown") == study.slowdown else ["study.slowdown"]
    if others:
        raise UserError(
            f"study.continues={study.continues} was measured with another {', '.join(others)}"
        )
    whole = min(
        len(told["same"]), len(told["slowed"])
    )  # stopped between the two, it has one more of the first
    if whole >= study.repetitions:
        raise UserError(
            f"study.continues={study.continues} has {whole} measurements: raise study.repetitions"
        )
    return {
        "same": told["same"][:whole],
        "slowed": told["slowed"][:whole],
        "judged": _judged_by(result),
    }


def _asked(result: Mapping[str, Any]) -> dict[str, Any]:
    """A self-test's configuration, as far as it is about what is measured."""
    config = comparable_config(json.loads(json.dumps(result["arms"]["candidate"]["config"])))
    return {group: values for group, values in config.items() if group != "study"}


def _judged_by(result: Mapping[str, Any]) -> dict[str, Any]:
    """The margin of a self-test, and the machine and the packages that it ran on; null where it does not say."""
    environment = result["environment"] or {}
    packages = environment.get("packages") or {}
    known = {key: environment.get(key) for key in _MACHINE} | {
        key: packages.get(key) for key in _PACKAGES
    }
    return {"margin": result["selftest"].get("margin"), **known}


def _take_in(earlier: Facts, record: Record) -> None:
    """Measurements of before count if machine and packages are the same and they were judged by the same margin.

    Raises:
        UserError: one of them is not.
    """
    here = _judged_by(record.result)
    apart = [
        f"{key} {was}, not {here[key]}"
        for key, was in earlier["judged"].items()
        if was != here[key]
    ]
    if apart:
        raise UserError(f"study.continues was measured elsewhere: with {', '.join(apart)}")
    told = record.result.get("selftest")
    assert told is not None
    for kind in ("same", "slowed"):
        told[kind] += earlier[kind]
    record.note(
        f"{len(earlier['same'])} of the measurements of each kind are of an earlier run, which was stopped"
    )


def _with_fault(
    experiment: Experiment,
    name: str,
    fault: Fault,
    words: str,
    *,
    record: Record,
    console: Console,
) -> schema.InjectedFault:
    """One whole measurement with the fault in the candidate, in a folder of its own."""
    folder = record.folder / "faults" / name
    folder.mkdir(parents=True, exist_ok=True)
    candidate = experiment.candidate
    faulty = dataclasses.replace(candidate, run=dataclasses.replace(candidate.run, fault=fault))
    broken = dataclasses.replace(experiment, arms={**experiment.arms, "candidate": faulty})
    own = Record(broken.arms, folder)
    own.start()
    try:
        code = single.measure(broken, own, console)
    except BaseException:
        own.finish("failed", ExitCode.ARM_FAILED)
        raise
    own.finish("completed", code)
    reason = own.result["verdict_reason"] or ""
    found = own.result["verdict"] == "invalid" and words in reason
    return {
        "verdict": own.result["verdict"],
        "reason": reason,
        "found": found,
        "result": f"faults/{name}/{RESULT}",
    }


def _rates(told: Mapping[str, Any]) -> dict[str, float]:
    """Of the measurements so far, how many ended as they should."""
    return {
        "same_left_alone": _rate(told["same"], "equivalent", "inconclusive"),
        "slowdown_found": _rate(told["slowed"], "slower"),
    }


def _rate(measured: list[dict[str, Any]], *right: str) -> float:
    counted = Counter(each["verdict"] for each in measured)
    return sum(counted[word] for word in right) / len(measured)
