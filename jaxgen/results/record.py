"""What a run leaves behind: every trial on disk as it ends, and at any moment a whole, readable result.json."""

import copy
import csv
import datetime
import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import ExitCode
from jaxgen.machine import cpu_load
from jaxgen.measure.samples import Samples
from jaxgen.results.files import OUTPUTS, RESULT, SCORES, TRIALS, replace, writing
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import REPORTING_SLOTS
from jaxgen.specs.measure import Isolation

SCHEMA_VERSION = 1

_PLACE = ("case", "process", "block", "pair", "position", "arm")
_WATCHED = ("compile_events", "void", "repeats")
"""The columns of trials.csv before and after the metrics."""

_WARMED = (
    "trace_s",
    "lower_s",
    "compile_s",
    "warmup_s",
    "persistent_cache_hits",
    "persistent_cache_misses",
)
"""Figures of the calls before the trials, in a result's `startup`."""

_NO_MEMORY = dict.fromkeys(
    (
        "weights_bytes",
        "kv_cache_bytes",
        "device_peak_bytes",
        "program_temp_bytes",
        "program_alias_bytes",
        "host_peak_rss_bytes",
    )
)
_NO_ROOFLINE = dict.fromkeys(
    ("bytes_per_step", "flops_per_step", "bandwidth_bytes_per_s", "peak_flops_per_s", "mbu", "mfu")
)


class Record:
    """The result in the making. `status` is `running` until `finish`, so that a killed run is recognisable.

    Attributes:
        folder: the run folder.
        result: the contents of result.json.
    """

    def __init__(self, arms: Mapping[str, Arm], folder: Path):
        self.folder = folder
        self.result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "exit_code": None,
            "verdict": None,
            "verdict_reason": None,
            "run_id": None,
            "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", "-m", "jaxgen", *sys.argv[1:]]),
            "arms": {name: _empty_arm(arm) for name, arm in arms.items()},
            "comparison": {},
            "agreement": None,
            "cases": [],
            "environment": None,
            "measurement": {},
            "notes": [],
        }
        with writing(folder):
            for name in (TRIALS, OUTPUTS, SCORES):  # of an earlier run in the same folder
                (folder / name).unlink(missing_ok=True)
        self.save()

    def loaded(self, name: str, facts: Mapping[str, Any]) -> None:
        """Note what an arm's worker said of its weights."""
        arm = self.result["arms"][name]
        arm["weights"] = facts["weights"]
        arm["startup"]["load_s"] = facts["load_s"]
        arm["memory"]["weights_bytes"] = facts["weights"]["bytes"]
        arm["memory"]["kv_cache_bytes"] = facts["kv_cache_bytes"]
        arm["mesh"] = facts["mesh"]
        if facts["cases"] != [{}]:
            self.result["cases"] = [
                _empty_case(params, self.result["arms"]) for params in facts["cases"]
            ]
        self.save()

    def block(self, case: int) -> dict[str, Any]:
        """Where the figures of a case stand: the result itself, or its place among the cases of a grid."""
        return self.result["cases"][case] if self.result["cases"] else self.result

    def warmed(self, name: str, calls: Sequence[Mapping[str, Any]]) -> None:
        """Note what the calls before the trials took, of all cases together; without any, that is not known."""
        startup = self.result["arms"][name]["startup"]
        startup["calls"] = [*startup.get("calls", []), *calls]
        for key in _WARMED if startup["calls"] else ():
            startup[key] = sum(
                call["seconds" if key == "warmup_s" else key] for call in startup["calls"]
            )
        self.save()

    def answered(
        self, name: str, call: Mapping[str, Any], *, facts: Mapping[str, Any], case: int
    ) -> None:
        """Note what the first call behind the warm-up compiled (nothing, in a warm arm), and what was asked."""
        self.result["arms"][name]["startup"]["next_call"] = dict(call)
        self.block(case)["arms"][name]["workload"] = dict(facts)

    def agreed(self, agreement: Mapping[str, Any] | None, *, case: int) -> None:
        """Note how a case's outputs compare, before its trials: whatever becomes of them, that is known."""
        self.block(case)["agreement"] = agreement
        self.save()

    def add_trial(self, row: Mapping[str, Any]) -> None:
        """Keep one trial, and append it to trials.csv at once."""
        path = self.folder / TRIALS
        flat = (
            {key: row[key] for key in _PLACE} | row["metrics"] | {key: row[key] for key in _WATCHED}
        )
        new = not path.exists()
        with writing(path), path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(flat), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(flat)

    def show(self, samples: Samples, *, case: int) -> None:
        """Figures of a case from its trials so far."""
        block = self.block(case)
        for name in self.result["arms"]:
            block["arms"][name].update(samples.summary(name))
        block["comparison"] = samples.compare()
        self.save()

    def environment(
        self, environments: Mapping[str, Mapping[str, Any]], *, isolation: Isolation
    ) -> None:
        """Note where each arm's process runs; once, where it is the same."""
        own = ("import_s", "pid")
        shared = {
            arm: {k: v for k, v in each.items() if k not in own}
            for arm, each in environments.items()
        }
        first = next(iter(shared.values()))
        self.result["environment"] = first | {
            "load_average_before": cpu_load.snapshot()["load_average"]
        }
        for arm, environment in shared.items():
            if environment != first:
                self.result["arms"][arm]["environment"] = environment
            self.result["arms"][arm]["startup"]["import_s"] = environments[arm]["import_s"]
        self.result["measurement"]["isolation"] = isolation.value

    def write_outputs(self, answers: Sequence[Mapping[str, Sequence[Mapping[str, Any]]]]) -> None:
        """All answers of all arms, one line each; with a grid, every line says its case."""
        cases = [{"case": case["params"]} for case in self.result["cases"]] or [{}]
        lines = [
            json.dumps({"arm": arm, **params, **row})
            for params, given in zip(cases, answers, strict=False)
            for arm, rows in given.items()
            for row in rows
        ]
        replace(self.folder / OUTPUTS, "\n".join(lines) + "\n")

    def write(self, name: str, text: str) -> None:
        """Another file of the run folder, whole or not at all."""
        replace(self.folder / name, text)

    def note(self, text: str) -> None:
        """A sentence that the reader of the result must see."""
        if text not in self.result["notes"]:
            self.result["notes"].append(text)

    def identify(self) -> None:
        """The run's identity: equal for equal configurations, weights, code and kind of device."""
        environment = self.result["environment"] or {}
        arms = self.result["arms"].values()
        material = {
            "configs": [without_places(arm["config"]) for arm in arms],
            "weights": [(arm["weights"] or {}).get("fingerprint") for arm in arms],
            "code": [environment.get("git"), environment.get("packages")],
            "device": [environment.get("device_kind"), environment.get("device_count")],
        }
        self.result["run_id"] = hashlib.sha256(
            json.dumps(material, sort_keys=True).encode()
        ).hexdigest()[:16]

    def finish(self, status: str, code: ExitCode) -> None:
        """The last word: `completed` or `failed`, and what the run ends with."""
        self.identify()
        self.result["status"] = status
        self.result["exit_code"] = int(code)
        self.result["finished_at"] = datetime.datetime.now(datetime.UTC).isoformat(
            timespec="seconds"
        )
        self.save()

    def save(self) -> None:
        """Write result.json whole or not at all."""
        replace(self.folder / RESULT, json.dumps(self.result, indent=2, allow_nan=False) + "\n")


def _empty_arm(arm: Arm) -> dict[str, Any]:
    startup = dict.fromkeys(("load_s", *_WARMED))
    return {
        "choices": arm.choices,
        "config": arm.resolved,
        "weights": None,
        "mesh": None,
        "startup": startup,
        "metrics": {},
        "compile": {"events_per_trial": [], "warm": None, "functions": {}, "void_trials": 0},
        "memory": dict(_NO_MEMORY),
        "roofline": dict(_NO_ROOFLINE),
        "program": {"stablehlo_sha256": None, "module_bytes": None},
        "failure": None,
    }


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what says only where things lie on this machine, or who else hears of the result."""
    model = {key: value for key, value in config.get("model", {}).items() if key != "store"}
    return {
        **{slot: values for slot, values in config.items() if slot not in REPORTING_SLOTS},
        "model": model,
    }


def _empty_case(params: Mapping[str, int], arms: Iterable[str]) -> dict[str, Any]:
    empty = {
        "metrics": {},
        "compile": {"events_per_trial": [], "warm": None, "functions": {}, "void_trials": 0},
    }
    return {
        "params": dict(params),
        "arms": {name: copy.deepcopy(empty) for name in arms},
        "comparison": {},
        "agreement": None,
        "verdict": None,
        "verdict_reason": None,
    }
