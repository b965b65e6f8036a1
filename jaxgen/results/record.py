"""The one writer of a run folder: every trial as it ends, and at any moment a complete result.json.

A run that is killed leaves what it had measured, with `"status": "running"`.
"""

import csv
import datetime
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from jaxgen.errors import ExitCode
from jaxgen.machine import cpu_load
from jaxgen.results import unmeasured
from jaxgen.results.files import OUTPUTS, RESULT, SCORES, TRIALS, save, writing
from jaxgen.results.identity import run_id
from jaxgen.results.schema import (
    SCHEMA_VERSION,
    Agreement,
    CaseResult,
    Comparison,
    Environment,
    MeasuredArm,
    Result,
    TrialRow,
    WatchedCall,
    Work,
    trials,
)
from jaxgen.specs.arm import Arm
from jaxgen.specs.measure import Isolation

_WARM_UP_FIGURES = {
    "trace_s": "trace_s",
    "lower_s": "lower_s",
    "compile_s": "compile_s",
    "warmup_s": "seconds",
    "persistent_cache_hits": "persistent_cache_hits",
    "persistent_cache_misses": "persistent_cache_misses",
}
"""Sums over the calls before the trials: the key in `startup`, and the key of one call."""

_OF_ONE_PROCESS = ("import_s", "pid")
"""What a worker says of its environment that is its own even where both arms' is the same."""


class Record:
    """The result in the making.

    `status` is `running` until `finish`, so that a killed run can be recognised.

    Args:
        arms: by name, candidate first.
        folder: the run folder.

    Attributes:
        folder: the run folder.
        result: what stands in result.json once `save` has been called.
    """

    def __init__(self, arms: Mapping[str, Arm], folder: Path):
        self.folder = folder
        self.result: Result = {
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "exit_code": None,
            "verdict": None,
            "verdict_reason": None,
            "run_id": None,
            "started_at": _now(),
            "command": shlex.join(["python", "-m", "jaxgen", *sys.argv[1:]]),
            "arms": {name: unmeasured.arm(arm) for name, arm in arms.items()},
            "comparison": {},
            "agreement": None,
            "cases": [],
            "environment": None,
            "measurement": {},
            "notes": [],
        }

    def start(self) -> None:
        """Remove what an earlier run left in the folder, and write the first result.json.

        Raises:
            UserError: the folder cannot be written.
        """
        with writing(self.folder):
            for name in (TRIALS, OUTPUTS, SCORES):
                (self.folder / name).unlink(missing_ok=True)
        self.save()

    def loaded(self, name: str, facts: Mapping[str, Any]) -> None:
        """Note what an arm's worker says of its weights, its mesh and the cases of its workload."""
        arm = self.result["arms"][name]
        memory = arm["memory"]
        arm["weights"] = facts["weights"]
        arm["startup"]["load_s"] = facts["load_s"]
        memory["weights_bytes"] = facts["weights"]["bytes"]
        memory["kv_cache_bytes"] = facts["kv_cache_bytes"]
        arm["mesh"] = facts["mesh"]
        # A single case without parameters stands in the result itself, not in a list of one.
        if facts["cases"] != [{}]:
            names = list(self.result["arms"])
            self.result["cases"] = [unmeasured.case(params, names) for params in facts["cases"]]
        self.save()

    def section(self, case: int) -> Result | CaseResult:
        """Return where the figures of a case stand: the result itself, or one of its cases."""
        return self.result["cases"][case] if self.result["cases"] else self.result

    def arm_section(self, name: str, *, case: int) -> MeasuredArm:
        """Return where the figures of one arm in one case stand."""
        return self.section(case)["arms"][name]

    def warmed(self, name: str, calls: Sequence[WatchedCall]) -> None:
        """Note what the calls before the trials took, summed over all cases.

        Without any call the sums stay null: what a warm-up would have taken is not known.
        """
        startup = self.result["arms"][name]["startup"]
        watched = [*startup.get("calls", []), *calls]
        startup["calls"] = watched
        if watched:
            for key, key_of_call in _WARM_UP_FIGURES.items():
                figures = [call[key_of_call] for call in watched]
                startup[key] = sum(figures)
        self.save()

    def answered(self, name: str, call: WatchedCall, *, facts: Work, case: int) -> None:
        """Note what the first call after the warm-up compiled, and what work it did.

        A warm arm compiles nothing in it.
        """
        self.result["arms"][name]["startup"]["next_call"] = call
        self.arm_section(name, case=case)["workload"] = facts

    def agreed(self, agreement: Agreement | None, *, case: int) -> None:
        """Note how a case's outputs compare, before its trials, whatever becomes of those."""
        self.section(case)["agreement"] = agreement
        self.save()

    def add_trial(self, row: TrialRow) -> None:
        """Append one trial to trials.csv at once."""
        path = self.folder / TRIALS
        # At once, so that a run which is killed has lost nothing.
        columns = trials.columns(row["metrics"])
        cells: dict[str, Any] = {**row, **row["metrics"]}
        is_new = not path.exists()
        with writing(path), path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if is_new:
                writer.writerow(columns)
            writer.writerow([cells.get(column) for column in columns])

    def show(
        self,
        figures: Mapping[str, MeasuredArm],
        comparison: Mapping[str, Comparison],
        *,
        case: int,
    ) -> None:
        """Set the figures of a case, by arm, and its comparison, by metric, as they are by now."""
        for name in self.result["arms"]:
            self.arm_section(name, case=case).update(figures[name])
        self.section(case)["comparison"] = dict(comparison)
        self.save()

    def environment(
        self, environments: Mapping[str, Mapping[str, Any]], *, isolation: Isolation
    ) -> None:
        """Note where each arm's process runs; once for both where it is the same.

        Args:
            environments: by arm, as its worker captured it.
            isolation: whether the arms have processes of their own.
        """
        shared = {name: _shared(captured) for name, captured in environments.items()}
        # Both arms run on one machine as a rule: then it stands in the result once.
        first = shared[next(iter(self.result["arms"]))]
        # A copy: below, `first` is held against what the other worker captured, without the load.
        environment = first.copy()
        environment["load_average_before"] = cpu_load.snapshot()["load_average"]
        self.result["environment"] = environment
        for name, captured in environments.items():
            arm = self.result["arms"][name]
            if shared[name] != first:
                arm["environment"] = shared[name]
            arm["startup"]["import_s"] = captured["import_s"]
        self.result["measurement"]["isolation"] = isolation.value

    def add_to_environment(self, facts: Mapping[str, Any]) -> None:
        """Add what the parent process found out about the machine."""
        environment = self.result["environment"]
        assert environment is not None, "the workers' environment comes first"
        environment.update(cast(Environment, facts))

    def write_outputs(self, answers: Sequence[Mapping[str, Sequence[Mapping[str, Any]]]]) -> None:
        """Write the outputs of all arms, one a line; with a grid, every line says its case.

        Args:
            answers: of each case, the output rows by arm.
        """
        cases: list[dict[str, Any]] = [{"case": case["params"]} for case in self.result["cases"]]
        lines = []
        for case, answers_of_case in zip(cases or [{}], answers, strict=False):
            for arm in self.result["arms"]:  # the candidate's first, whoever answered first
                for row in answers_of_case.get(arm, ()):
                    line = {"arm": arm, **case, **row}
                    lines.append(json.dumps(line))
        save(self.folder / OUTPUTS, "\n".join(lines) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write another file of the run folder."""
        save(self.folder / name, text)

    def note(self, text: str) -> None:
        """Add a sentence that the reader of the result must see."""
        if text not in self.result["notes"]:
            self.result["notes"].append(text)

    def finish(self, status: Literal["completed", "failed"], code: ExitCode) -> None:
        """Write the last result.json.

        Args:
            status: `completed` or `failed`.
            code: what the run ends with.
        """
        self.result["run_id"] = run_id(self.result)
        self.result["status"] = status
        self.result["exit_code"] = int(code)
        self.result["finished_at"] = _now()
        self.save()

    def save(self) -> None:
        """Write result.json as it is now, whole or not at all."""
        # NaN is no JSON: better an error here than a file that no reader takes.
        save(self.folder / RESULT, json.dumps(self.result, indent=2, allow_nan=False) + "\n")


def _shared(captured: Mapping[str, Any]) -> Environment:
    """Return a worker's environment without what differs from process to process."""
    shared = {key: value for key, value in captured.items() if key not in _OF_ONE_PROCESS}
    return cast(Environment, shared)  # from another process, as `machine.environment` has it


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
