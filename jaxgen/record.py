"""What a run leaves behind: every trial on disk as it ends, and at any moment a whole, readable result.json."""

import contextlib
import csv
import datetime
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.measure.statistics import Pair, compare, summarise
from jaxgen.spec.arm import Arm

SCHEMA_VERSION = 1
RESULT, TRIALS, OUTPUTS, LOG = "result.json", "trials.csv", "outputs.jsonl", "jaxgen.log"

_PLACE = ("process", "block", "pair", "position", "arm")
_WATCHED = ("compile_events", "void", "repeats")
"""The columns of trials.csv before and after the metrics."""

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
        self._arms = arms
        self._trials: list[dict[str, Any]] = []
        self._metrics: dict[str, dict[str, Any]] = {}
        self.result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
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
        with _writing(folder):
            for name in (TRIALS, OUTPUTS):  # of an earlier run in the same folder
                (folder / name).unlink(missing_ok=True)
        self.save()

    def loaded(self, name: str, facts: Mapping[str, Any]) -> None:
        """Note what an arm's worker said of its weights."""
        arm = self.result["arms"][name]
        arm["weights"] = facts["weights"]
        arm["startup"]["load_s"] = facts["load_s"]
        arm["memory"]["weights_bytes"] = facts["weights"]["bytes"]
        arm["memory"]["kv_cache_bytes"] = facts["kv_cache_bytes"]
        self._metrics = facts["metrics"]
        self.save()

    def warmed(self, name: str, startup: Mapping[str, Any]) -> None:
        """Note what the warm-up took."""
        self.result["arms"][name]["startup"].update(startup)
        self.save()

    def add_trial(self, row: Mapping[str, Any]) -> None:
        """Keep one trial, and append it to trials.csv at once."""
        path = self.folder / TRIALS
        flat = {key: row[key] for key in _PLACE} | row["metrics"] | {key: row[key] for key in _WATCHED}
        new = not path.exists()
        with _writing(path), path.open("a", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(flat), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(flat)
        self._trials.append(dict(row))

    def write_outputs(self, answers: Mapping[str, list[dict]]) -> None:
        """All answers of all arms, one line each."""
        lines = [json.dumps({"arm": arm, **row}) for arm, rows in answers.items() for row in rows]
        _replace(self.folder / OUTPUTS, "\n".join(lines) + "\n")

    def note(self, text: str) -> None:
        """A sentence that the reader of the result must see."""
        if text not in self.result["notes"]:
            self.result["notes"].append(text)

    def valid_trials(self, name: str) -> list[dict[str, Any]]:
        """The trials of one arm that count."""
        return [trial for trial in self._trials if trial["arm"] == name and not trial["void"]]

    def compare(self) -> dict[str, Any] | None:
        """The comparison of the first metric over the pairs so far; all metrics are kept in the result."""
        if len(self._arms) < 2:
            return None
        for metric, facts in self._metrics.items():
            pairs = self._pairs(metric)
            if pairs:
                self.result["comparison"][metric] = compare(pairs, better=facts["better"])
        return self.result["comparison"].get(self.primary)

    @property
    def primary(self) -> str:
        """The metric that the verdict is about."""
        return next(iter(self._metrics))

    def summarise(self) -> None:
        """Per-arm metrics and compile events, from the trials so far."""
        for name in self._arms:
            trials = self.valid_trials(name)
            for metric, facts in self._metrics.items():
                samples = [trial["metrics"][metric] for trial in trials]
                self.result["arms"][name]["metrics"][metric] = summarise(samples, **facts)
            functions: dict[str, int] = {}
            for trial in trials:
                for function, count in trial["functions"].items():
                    functions[function] = functions.get(function, 0) + count
            events = [trial["compile_events"] for trial in trials]
            self.result["arms"][name]["compile"] = {
                "events_per_trial": events,
                "warm": not any(events) if events else None,
                "functions": functions,
                "void_trials": sum(trial["arm"] == name and trial["void"] for trial in self._trials),
            }

    def identify(self) -> None:
        """The run's identity: equal for equal configurations, weights, code and kind of device."""
        environment = self.result["environment"] or {}
        arms = self.result["arms"].values()
        material = {
            "configs": [arm["config"] for arm in arms],
            "weights": [(arm["weights"] or {}).get("fingerprint") for arm in arms],
            "code": [environment.get("git"), environment.get("packages")],
            "device": [environment.get("device_kind"), environment.get("device_count")],
        }
        self.result["run_id"] = hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()[:16]

    def finish(self, status: str) -> None:
        """The last word: `completed` or `failed`."""
        self.summarise()
        self.identify()
        self.result["status"] = status
        self.result["finished_at"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.save()

    def save(self) -> None:
        """Write result.json whole or not at all."""
        _replace(self.folder / RESULT, json.dumps(self.result, indent=2, allow_nan=False) + "\n")

    def _pairs(self, metric: str) -> list[Pair]:
        by_arm = {
            name: {(t["process"], t["block"], t["pair"]): t["metrics"][metric] for t in self.valid_trials(name)}
            for name in self._arms
        }
        shared = [key for key in by_arm["candidate"] if key in by_arm["baseline"]]
        values = [(key, by_arm["baseline"][key], by_arm["candidate"][key]) for key in shared]
        return [
            Pair(*key, baseline=baseline, candidate=candidate)
            for key, baseline, candidate in values
            if baseline is not None and candidate is not None
        ]


def _empty_arm(arm: Arm) -> dict[str, Any]:
    startup = dict.fromkeys(
        ("load_s", "trace_s", "lower_s", "compile_s", "warmup_s", "persistent_cache_hits", "persistent_cache_misses")
    )
    return {
        "choices": arm.choices,
        "config": arm.resolved,
        "weights": None,
        "startup": startup,
        "metrics": {},
        "compile": {"events_per_trial": [], "warm": None, "functions": {}, "void_trials": 0},
        "memory": dict(_NO_MEMORY),
        "roofline": dict(_NO_ROOFLINE),
        "program": {"stablehlo_sha256": None, "module_bytes": None},
        "failure": None,
    }


def _replace(path: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half."""
    beside = path.with_name(path.name + ".partial")
    with _writing(path):
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A full disk or a folder that is read-only is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); make room, or choose another folder with hydra.run.dir=DIR"
        ) from error
