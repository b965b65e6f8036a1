"""The faults that a self-test puts in on purpose: each must make a whole measurement invalid."""

import dataclasses
from collections.abc import Callable

from jaxgen.console.progress import Console
from jaxgen.errors import ExitCode
from jaxgen.results import schema
from jaxgen.results.files import RESULT
from jaxgen.results.record import Record
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.fault import Fault

FAULTS: dict[str, tuple[Fault, str]] = {
    "recompile": (Fault(recompile=True), "compiled in"),
    "wrong_token": (Fault(wrong_token=True), "outputs"),
    "nan_weights": (Fault(nan_weights=True), "NaN"),
    "clock": (Fault(clock=1e-3), "the timer is wrong"),
}
"""Each fault, and what the reason of the verdict must say of it."""

MeasureOnce = Callable[[Experiment, Record, Console], ExitCode]


def measure_faults(
    experiment: Experiment,
    record: Record,
    console: Console,
    section: schema.Selftest,
    *,
    measure_once: MeasureOnce,
) -> None:
    """Make a whole measurement with each fault; each outcome is on disk before the next begins.

    Args:
        experiment: two equal arms, and how they are measured.
        record: of the self-test; each fault gets a folder of its own below it.
        console: shows the progress.
        section: gets the outcomes.
        measure_once: makes one whole measurement.
    """
    for name, (fault, words) in FAULTS.items():
        broken = _with_fault(experiment, fault)
        folder = record.folder / "faults" / name
        folder.mkdir(parents=True, exist_ok=True)
        own = Record(broken.arms, folder)
        section["faults"][name] = _measure_fault(
            broken, own, name=name, words=words, console=console, measure_once=measure_once
        )
        record.save()


def _with_fault(experiment: Experiment, fault: Fault) -> Experiment:
    """Return the experiment with a fault in its candidate."""
    candidate = experiment.candidate
    # In the candidate alone: a fault in both arms would make two arms that agree.
    faulty = dataclasses.replace(candidate, run=dataclasses.replace(candidate.run, fault=fault))
    return dataclasses.replace(experiment, arms={**experiment.arms, "candidate": faulty})


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
