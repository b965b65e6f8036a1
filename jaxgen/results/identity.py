"""Which runs are the same: what a configuration, its weights, the code and the device come to."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jaxgen.results.schema import Result
from jaxgen.specs.experiment import REPORTING_SLOTS


def comparable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an arm's configuration without what may differ between two runs of the same question.

    That is where converted checkpoints and other sources lie on this machine, and who is shown the
    result.
    """
    comparable = {}
    for slot, values in config.items():
        if slot not in REPORTING_SLOTS:
            comparable[slot] = values
    model = dict(config.get("model", {}))
    model.pop("store", None)
    comparable["model"] = model
    if "process" in config:
        process = dict(config["process"])
        # The code there has its commit in the arm's environment; the folder may be a temporary one.
        process.pop("source", None)
        comparable["process"] = process
    return comparable


def run_id(result: Result) -> str:
    """Return 16 hex digits: equal for equal configurations, weights, code and kind of device."""
    environment: Mapping[str, Any] = result["environment"] or {}
    configs, fingerprints = [], []
    code = [environment.get("git"), environment.get("packages")]
    for arm in result["arms"].values():
        weights = arm["weights"]
        configs.append(comparable_config(arm["config"]))
        # An arm that failed before it was loaded has no weights.
        fingerprints.append(weights["fingerprint"] if weights else None)
        own = arm.get("environment")
        if own and own.get("git") != environment.get("git"):
            code.append(own.get("git"))
    material = {
        "configs": configs,
        "weights": fingerprints,
        "code": code,
        "device": [environment.get("device_kind"), environment.get("device_count")],
    }
    # Sorted: the order in which keys were set makes no other run. 64 bits tell enough runs apart.
    text = json.dumps(material, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
