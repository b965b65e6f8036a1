"""Is a point of a sweep done already?

It is where its folder holds the answer to the same question, asked of the same code on the same
machine.
"""

import dataclasses
import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.errors import ExitCode
from jaxgen.executor.process_settings import worker_settings
from jaxgen.experiment import judge
from jaxgen.gate import regression
from jaxgen.gate.stored import matching
from jaxgen.machine import provenance
from jaxgen.results import formatting
from jaxgen.results.files import RESULT
from jaxgen.results.identity import comparable_config
from jaxgen.results.reading import OtherVersion, Unreadable, read_result
from jaxgen.results.schema import SCHEMA_VERSION, Result
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Isolation, Measure
from jaxgen.specs.sweep import Retry


@dataclasses.dataclass(frozen=True)
class ResumeDecision:
    """Whether a point has to be run, by the result that lies in its folder.

    Attributes:
        skip: it need not be run.
        why: in a few words.
        seconds: that an earlier run of the same configuration took; null where there is none.
        code: the exit code that its result stands for.
    """

    skip: bool
    why: str
    seconds: float | None = None
    code: ExitCode = ExitCode.OK

    def describe(self, plan: Measure) -> str:
        """Say for a table why the point is not run, or why it is and how long that may take."""
        if self.skip:
            return self.why
        if self.seconds is not None:
            duration = f"it took {formatting.seconds(self.seconds)} before"
        elif plan.limited_by_time:
            longest = formatting.seconds(plan.max_seconds)
            duration = f"trials of up to {longest} a case, loading and compiling"
        else:
            pairs = plan.trials * plan.blocks
            duration = f"{pairs} pairs of trials a case, loading and compiling"
        return f"to be run ({self.why}): {duration}"


def decide(experiment: Experiment, folder: Path) -> ResumeDecision:
    """Compare a composed point with the result in its folder, as the point's own `sweep.*` asks.

    The device is not asked, as that would take a process with jax: it is taken for the same where
    the processor, the versions of all packages, jaxgen's own code, XLA_FLAGS and JAX_* are.
    Weights, prompts and what a gate compares with are taken for the same where none of their files
    is newer than the result.

    Args:
        experiment: what the point would measure.
        folder: its run folder, which need not exist.
    """
    try:
        # Read unchecked: a run that was stopped may lack any section.
        result = read_result(folder / RESULT)
    except OtherVersion as problem:
        if problem.version is None:  # JSON, but no result
            return ResumeDecision(False, "there is no result yet")
        why = f"its result is of schema_version {problem.version}, not {SCHEMA_VERSION}"
        return ResumeDecision(False, why)
    except Unreadable:
        return ResumeDecision(False, "there is no result yet")
    if not isinstance(result.get("arms"), dict):
        return ResumeDecision(False, "there is no result yet")
    if not experiment.sweep.resume:
        return ResumeDecision(False, "sweep.resume=false")
    difference = _difference(experiment, result)
    if difference is not None:
        return ResumeDecision(False, difference)
    seconds, code = _duration_s(result), _exit_code(result)
    if result.get("status") == "completed":
        return ResumeDecision(True, "done before", seconds, code)
    # A run that was killed says `running` for ever; one that was interrupted has not failed: both
    # are run again, whatever `sweep.retry` says.
    if result.get("status") != "failed" or code is ExitCode.INTERRUPTED:
        return ResumeDecision(False, "stopped before its end", seconds)
    if experiment.sweep.retry is Retry.none:
        return ResumeDecision(True, "failed before, and sweep.retry=none", seconds, code)
    return ResumeDecision(False, "failed before", seconds)


def _exit_code(result: Result) -> ExitCode:
    """Return the code that the run ended with, or must have where its result does not say."""
    if result.get("exit_code") in set(ExitCode):
        return ExitCode(result["exit_code"])
    if result.get("status") != "completed":
        return ExitCode.ARM_FAILED
    gate = result.get("gate")
    return judge.exit_code(result, [regression.exit_code(gate)] if gate else [])


def _difference(experiment: Experiment, result: Result) -> str | None:
    """Say what is not as it was when the result was measured; null where all is."""
    arms = experiment.arms
    before = {}
    for name, arm in result["arms"].items():
        before[name] = comparable_config(arm.get("config") or {})
    now = {}
    for name, arm in arms.items():
        # Through JSON and back, as the stored one went: tuples are lists there.
        config = json.loads(json.dumps(arm.resolved))
        now[name] = comparable_config(config)
    if now != before:
        return "its configuration is another"
    if _runs_other_code(experiment):
        return "its process.source or gate.commit may have other code by now"
    environment = result.get("environment") or {}
    if not _is_same_code(environment.get("git"), provenance.git()):
        return "jaxgen's code is another"
    if environment.get("cpu") != provenance.cpu_model():
        return "the machine is another"
    # The packages of another interpreter are not those of this process.
    own_python = any(arm.run.process.python for arm in arms.values())
    if not own_python and environment.get("packages") != provenance.packages():
        return "the installed packages are others"
    if _has_other_settings(arms, result):
        return "XLA_FLAGS or JAX_* are others"
    return _newer_files(experiment, result.get("started_at"))


def _runs_other_code(experiment: Experiment) -> bool:
    """Whether an arm runs other code than this jaxgen: a branch moves, and files change."""
    if getattr(experiment.gate, "commit", None):
        return True
    return any(arm.run.process.source for arm in experiment.arms.values())


def _has_other_settings(arms: Mapping[str, Arm], result: Result) -> bool:
    """Whether workers would start with other flags now, as far as the result has recorded them."""
    isolation = (result.get("measurement") or {}).get("isolation")
    names = list(arms)
    if isolation == Isolation.shared.value:
        names = names[:1]  # the worker of both was the first one's
    for name in names:
        own_environment = result["arms"][name].get("environment")
        recorded = own_environment or result["environment"] or {}
        settings = worker_settings(arms[name].run)
        # Older results have not recorded every setting: what is unknown counts as the same.
        for key, value in settings.items():
            if recorded.get(key, value) != value:
                return True
    return False


def _is_same_code(before: Any, now: Mapping[str, Any] | None) -> bool:
    """Compare two states of a checkout.

    Changes that were not committed are the same only where their hashes are known, and equal.
    """
    if before is None or now is None:
        return before == now
    if now["dirty"] and now["diff_sha256"] is None:
        return False
    # Older results have not recorded the hash, which is null in a clean checkout.
    return all(before.get(key) == value for key, value in now.items())


def _newer_files(experiment: Experiment, started_at: Any) -> str | None:
    """Say which of the files that a point reads were written after its measurement began."""
    try:
        started = datetime.datetime.fromisoformat(started_at).timestamp()
    except (TypeError, ValueError):
        return "its result does not say when it was measured"
    for arm in experiment.arms.values():
        model = arm.run.model
        # Only some kinds of prompts and of gates read a file.
        files = (
            ("weights are", model.checkpoint),
            ("weights are", model.source),
            ("prompts are", getattr(arm.run.prompts, "path", None)),
        )
        for what, path in files:
            if path and _newest_s(Path(path).expanduser()) > started:
                return f"its {what} newer"
    for entry in getattr(experiment.gate, "against", None) or ():
        for path in matching(entry):
            if _newest_s(Path(path)) > started:
                return "its gate's yardstick is newer"
    return None


def _newest_s(path: Path) -> float:
    """Return when the last file of a path was written; minus infinity where there is none."""
    if (path / RESULT).is_file():
        path = path / RESULT  # the reports beside it may be written anew at any time
    newest_s = -math.inf
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            newest_s = max(newest_s, file.stat().st_mtime)
    return newest_s


def _duration_s(result: Result) -> float | None:
    """Return how long the whole run took; null where its result does not say."""
    try:
        started = datetime.datetime.fromisoformat(result["started_at"])
        finished = datetime.datetime.fromisoformat(result.get("finished_at") or "")
    except (KeyError, TypeError, ValueError):
        return None
    return (finished - started).total_seconds()
