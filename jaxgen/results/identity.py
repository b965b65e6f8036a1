"""Which runs are the same: what a configuration, its weights, the code and the device come to."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jaxgen.results.schema import Result
from jaxgen.specs.experiment import REPORTING_SLOTS


def comparable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an arm's configuration without what may differ between two runs of the same question.

    That is where converted checkpoints are stored on this machine, and who is shown the result.
    """
    slots = {slot: values for slot, values in config.items() if slot not in REPORTING_SLOTS}
    model = config.get("model", {})
    slots["model"] = {key: value for key, value in model.items() if key != "store"}
    return slots


def run_id(result: Result) -> str:
    """Return 16 hex digits: equal for equal configurations, weights, code and kind of device."""
    environment: Mapping[str, Any] = result["environment"] or {}
    arms = list(result["arms"].values())
    material = {
        "configs": [comparable_config(arm["config"]) for arm in arms],
        "weights": [arm["weights"]["fingerprint"] if arm["weights"] else None for arm in arms],
        "code": [environment.get("git"), environment.get("packages")],
        "device": [environment.get("device_kind"), environment.get("device_count")],
    }
    text = json.dumps(material, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
