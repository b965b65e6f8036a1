"""What a worker measures beside the trials: work and rates, memory, programs, a profile, logits.

Each function carries out the command of its name; none runs while a trial does.
"""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxgen.engine import logit_comparison, reference_logits
from jaxgen.engine.hlo import inspection
from jaxgen.machine import memory, probes, processor
from jaxgen.measure.roofline import Step
from jaxgen.worker import requests
from jaxgen.worker.arm import LoadedArm
from jaxgen.worker.readers import Arms, reader


def write_reference_logits(
    arms: Arms, name: str, asked: requests.WriteReferenceLogits
) -> dict[str, Any]:
    """Write an arm's log-probabilities of its own outputs of a case to a file."""
    limits = arms[name].workload.limits(asked.case)
    with reader(arms, name, requests.Reader(**asked.reader)) as engine:
        return reference_logits.write_reference_logits(
            engine, asked.rows, asked.path, limits=limits
        )


def compare_logits(arms: Arms, name: str, asked: requests.CompareLogits) -> dict[str, Any]:
    """Compare an arm's log-probabilities with those in the file, on the same tokens."""
    limits = arms[name].workload.limits(asked.case)
    with reader(arms, name, requests.Reader(**asked.reader)) as engine:
        return logit_comparison.compare_logits(
            engine, asked.rows, asked.path, limits=limits, divergences=asked.divergences
        )


def score_again(arms: Arms, name: str, asked: requests.ScoreAgain) -> list[list[float | None]]:
    """Return the scores of a case as another engine of the arm gives them."""
    with reader(arms, name, requests.Reader(**asked.reader)) as engine:
        return arms[name].workload.scores_by(engine, asked.case)


def without_calls(
    arm: LoadedArm, case: int, repeats: int, *, on_done: Callable[[], None]
) -> dict[str, float]:
    """Do all that a trial does outside its calls' clock, and no call.

    The parent times this: what a trial takes beside its calls is then known without any clock of
    this process.

    Args:
        arm: the arm.
        case: the number of the case.
        repeats: calls that the trial would have.
        on_done: called when all is done.

    Returns:
        `total_s`, the seconds that it took.
    """
    start_s = time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            arm.workload.beside_call(case)
        total_s = time.perf_counter() - start_s
        on_done()
    finally:
        gc.enable()
    return {"total_s": total_s}


def scale(arm: LoadedArm, case: int) -> dict[str, Any]:
    """Measure what the device could do at best, beside what a step of the case must do.

    Returns:
        `steps`, by metric the `{bytes, flops}` that a step must move and compute; `probe`, the
        rates that the device reaches on as much memory, or null where no step's work is known.
    """
    # What was really generated: a row that ended early reads fewer slots than was planned.
    outputs = arm.outputs_by_case.get(case, ())
    steps = arm.workload.steps(case, outputs)
    plain_steps = {}
    largest = 0.0
    for metric, step in steps.items():
        plain_steps[metric] = _plain(step)
        if step is not None:
            largest = max(largest, step.nbytes)
    probe = None
    if largest:
        # As much memory as the largest step touches: what fits a cache is read much faster.
        layout = arm.engine.layout
        mesh = layout.mesh if layout else None
        dtype = arm.run.dtype.between
        rates = probes.probe(int(largest), dtype=dtype, mesh=mesh)
        # What says whether another arm's rates are a ceiling for this one too.
        probe = {
            **rates,
            "dtype": str(dtype),
            "devices": mesh.size if mesh else 1,
            "level": processor.level_of(largest, platform=jax.default_backend()),
        }
    return {"steps": plain_steps, "probe": probe}


def examine(arm: LoadedArm, case: int, *, dump: str | None) -> dict[str, Any]:
    """Examine the programs of a case, and write their text into the folder `dump` if there is one.

    Returns:
        Their hash and size, what they need of memory, and XLA's own count of their work.
    """
    programs = arm.workload.programs(case)
    facts = inspection.examine(arm.engine, programs)
    if dump is not None:
        inspection.dump(arm.engine, programs, Path(dump))
    return {**facts, "last_step": _plain(arm.workload.last_step(case))}


def profile(arm: LoadedArm, case: int, *, folder: str) -> dict[str, Any]:
    """Make one more call under jax.profiler; return the operations that took longest."""
    from jaxgen.machine.profile import record  # few runs ask for a profile, and it imports much

    # Before the trace begins: the programs are lowered for it, which is no part of the call.
    meanings = inspection.meanings(arm.workload.programs(case))
    return record(lambda: arm.workload.call(case), Path(folder), meanings=meanings)


def capture(arm: LoadedArm, case: int, *, path: str) -> dict[str, Any] | None:
    """Write the activations that the arm keeps into a file; return null where it keeps none."""
    return arm.workload.capture(case, Path(path))


def reset_peaks() -> dict[str, Any]:
    """Begin a new account of this process's memory; return the peak until now."""
    # The peak until now is that of loading and compiling, which the trials' own must not contain.
    before = memory.host_peak_rss_bytes()
    return {"host_peak_rss_bytes": before, "reset": memory.reset_host_peak()}


def peaks() -> dict[str, Any]:
    """Return the peak memory since the reset, of the process and of its device."""
    device_peak_bytes, reason = memory.device_peak_bytes()
    return {
        "host_peak_rss_bytes": memory.host_peak_rss_bytes(),
        "device_peak_bytes": device_peak_bytes,
        "device_reason": reason,
    }


def _plain(step: Step | None) -> dict[str, float] | None:
    """Return a step's work as JSON values."""
    if step is None:
        return None
    return {"bytes": step.nbytes, "flops": step.flops}
