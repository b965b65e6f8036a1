"""What a reader must be wary of beside the figures of a run: faults, failures and notes."""

import dataclasses
import json

from jaxgen.report.failures import failed_arms, failure_of
from jaxgen.report.lookup import value_at
from jaxgen.report.sentences import as_sentence
from jaxgen.results.collection import StoredRun
from jaxgen.results.schema import ArmResult, Result
from jaxgen.specs.fault import Fault


def warnings_of(run: StoredRun) -> list[str]:
    """Return all that a reader must see beside the figures: faults, failures and notes."""
    result = run.result
    gate_notes = value_at(result, "gate", "notes") or []
    notes = [str(note) for note in result.get("notes", [])]
    notes += [str(note) for note in gate_notes]
    # A note of the run says already which arm has random weights, and what that means.
    is_noted = "random weights" in "\n".join(notes).lower()
    texts = []
    for name, arm in result["arms"].items():
        # Figures of an arm with a fault must never be taken for true ones.
        faults = _injected_faults(arm)
        if faults:
            listed = ", ".join(faults)
            texts.append(f"a fault was put into the {name} on purpose: {listed}")
        has_random_weights = value_at(arm, "weights", "random")
        if has_random_weights and not is_noted:
            texts.append(f"the {name} has random weights")
    # The figures of an arm that failed are of the trials before that.
    for name, arm in failed_arms(result).items():
        texts.append(f"the {name} failed: {failure_of(arm)}")
    for name in _undetected_faults(result):
        texts.append(f"{name} was not found by the selftest")
    texts += notes
    return [as_sentence(text) for text in texts]


def _injected_faults(arm: ArmResult) -> list[str]:
    """Name the faults of an arm's configuration, each with its value."""
    # Held against a spec without faults and not against 0: a clock that is right is 1.
    without_fault = dataclasses.asdict(Fault())
    configured = value_at(arm, "config", "fault") or {}
    faults = []
    for key, value in configured.items():
        if value != without_fault.get(key):
            faults.append(f"{key}={json.dumps(value)}")
    return faults


def _undetected_faults(result: Result) -> list[str]:
    """Name the faults that a selftest injected and did not find."""
    injected = value_at(result, "selftest", "faults") or {}
    names = []
    for name, fault in injected.items():
        if not fault.get("found"):
            names.append(f"fault.{name}")
    return names
