"""Which start spread a run has: the one that was calibrated for it, else the shipped one."""

from collections.abc import Mapping
from typing import Any

from jaxgen.measure import start_spread
from jaxgen.measure.start_spread import StartSpread
from jaxgen.results import schema
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm
from jaxgen.specs.measure import Measure


def conditions_of(arm: Arm, environment: schema.Environment | None) -> dict[str, Any]:
    """Return what a start spread holds for: machine, version of jax, workload, model and dtype.

    An option that stands for any model, such as `hf`, adds its source. The cache and the jit
    strategy are left out, as arms that differ in them are what a run compares.

    Args:
        arm: the candidate.
        environment: of the workers.
    """
    machine: Mapping[str, Any] = environment or {}
    packages = machine.get("packages") or {}
    spec = arm.run.model
    model = arm.choices["model"]
    if spec.shapes is None:
        model = f"{model} {spec.checkpoint or spec.source}"
    return {
        "device_kind": machine.get("device_kind"),
        "cpu": machine.get("cpu"),
        "cores": machine.get("cores"),
        "jax": packages.get("jax"),
        "workload": arm.choices["workload"],
        "model": model,
        "dtype": arm.choices["dtype"],
    }


def spread_for(arm: Arm, environment: schema.Environment | None) -> StartSpread:
    """Return the start spread of an arm's measurements.

    Raises:
        UserError: the user's file of start spreads cannot be read.
    """
    return start_spread.find(start_spread.key_of(conditions_of(arm, environment)))


def note_old_file(record: Record, plan: Measure) -> None:
    """Say that noise floors of an earlier version are not read, where one set the margin so far."""
    note = start_spread.old_file_note()
    if note is not None and plan.margin is None:
        record.note(note)
