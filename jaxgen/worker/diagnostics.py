"""What a worker finds out beside the trials: scale, memory, programs, a profile, an arm's logits on given tokens.

Each function is a command of that name; none runs while a trial does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.engine.hlo import inspection
from jaxgen.engine.logit_comparison import compare_logits
from jaxgen.engine.reference_logits import write_reference_logits
from jaxgen.machine import memory, probes
from jaxgen.measure.roofline import Step
from jaxgen.worker.arm import LoadedArm


def teach(arm: LoadedArm, case: int, rows: list[dict], path: str) -> dict[str, Any]:
    """Write the arm's log-probabilities of its own answers of a case to a file."""
    limits = arm.workload.limits(case)
    return write_reference_logits(arm.engine, rows, path, limits=limits)


def learn(
    arm: LoadedArm, case: int, rows: list[dict], path: str, divergences: Sequence[dict] = ()
) -> dict[str, Any]:
    """Compare the arm's log-probabilities with those in the file, on the same tokens."""
    limits = arm.workload.limits(case)
    return compare_logits(arm.engine, rows, path, limits=limits, divergences=divergences)


def scale(arm: LoadedArm, case: int) -> dict[str, Any]:
    """What a step of a case must move and compute, and the rates that the device reaches on so much memory."""
    steps = arm.workload.steps(case, arm.answered.get(case, ()))
    sizes = [step.nbytes for step in steps.values() if step is not None]
    layout = arm.engine.layout
    where = {"dtype": arm.run.dtype.between, "mesh": layout.mesh if layout else None}
    return {
        "steps": {metric: _plain(step) for metric, step in steps.items()},
        "probe": probes.probe(int(max(sizes)), **where) if sizes else None,
    }


def examine(arm: LoadedArm, case: int, dump: str | None) -> dict[str, Any]:
    """The case's programs: their hash and size, what they need of memory, and XLA's own count of their work."""
    programs = arm.workload.programs(case)
    facts = inspection.examine(arm.engine, programs)
    if dump is not None:
        inspection.dump(arm.engine, programs, Path(dump))
    return {**facts, "last_step": _plain(arm.workload.last_step(case))}


def profile(arm: LoadedArm, case: int, folder: str) -> dict[str, Any]:
    """One more call under jax.profiler; the operations that took longest."""
    from jaxgen.machine.profile import record

    meanings = inspection.meanings(arm.workload.programs(case))
    return record(lambda: arm.workload.call(case), Path(folder), meanings=meanings)


def capture(arm: LoadedArm, case: int, path: str) -> dict[str, Any] | None:
    """The activations that the arm keeps, into a file; null where it keeps none."""
    return arm.workload.capture(case, Path(path))


def reset_peaks(arm: LoadedArm) -> dict[str, Any]:
    """The peak until now, and whether it could be reset."""
    del arm
    before = memory.host_peak_rss_bytes()
    return {"host_peak_rss_bytes": before, "reset": memory.reset_host_peak()}


def peaks(arm: LoadedArm) -> dict[str, Any]:
    """Peak memory since the reset, of the process and of its device."""
    del arm
    device_peak_bytes, reason = memory.device_peak_bytes()
    return {
        "host_peak_rss_bytes": memory.host_peak_rss_bytes(),
        "device_peak_bytes": device_peak_bytes,
        "device_reason": reason,
    }


def _plain(step: Step | None) -> dict[str, float] | None:
    return None if step is None else {"bytes": step.nbytes, "flops": step.flops}


COMMANDS = {
    function.__name__: function
    for function in (teach, learn, scale, examine, profile, capture, reset_peaks, peaks)
}
