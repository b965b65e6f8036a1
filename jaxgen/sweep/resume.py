"""Is a point of a sweep done already? Only where the same question was asked of the same code on the same machine."""

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
from jaxgen.gate.stored import READABLE_VERSION, version_problem
from jaxgen.machine import provenance
from jaxgen.results import formatting
from jaxgen.results.files import RESULT
from jaxgen.results.record import without_places
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Isolation, Measure
from jaxgen.specs.sweep import Retry

_WEIGHTS = ("checkpoint", "source")


@dataclasses.dataclass(frozen=True)
class Standing:
    """What a run folder says of a point that is to be run in it.

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

    def told(self, plan: Measure) -> str:
        """For a table: why it is not run, or why it is and how long that may take."""
        if self.skip:
            return self.why
        limit = (
            f"trials of up to {formatting.seconds(plan.max_seconds * plan.processes)} a case"
            if plan.limited_by_time
            else f"{plan.trials * plan.blocks * plan.processes} pairs of trials a case"
        )
        limit += ", loading and compiling"
        known = (
            None if self.seconds is None else f"it took {formatting.seconds(self.seconds)} before"
        )
        return f"to be run ({self.why}): {known or limit}"


def standing(experiment: Experiment, folder: Path) -> Standing:
    """Compare a composed point with the result in its folder, as the point's own `sweep.*` asks.

    The device is not asked, as that would take a process with jax: it is taken for the same where the processor, the
    versions of all packages, jaxgen's own code, XLA_FLAGS and JAX_* are. Weights, prompts and what a gate compares with
    are taken for the same where none of their files is newer than the result.
    """
    plan = experiment.sweep
    told = _read(folder / RESULT)
    if told is None:
        return Standing(False, "there is no result yet")
    if version_problem(told) is not None:
        return Standing(
            False,
            f"its result is of schema_version {told.get('schema_version')}, not {READABLE_VERSION}",
        )
    if not plan.resume:
        return Standing(False, "sweep.resume=false")
    changed = _changed(experiment, told)
    if changed:
        return Standing(False, changed)
    seconds = _seconds(told)
    code = _code(told)
    if told.get("status") == "completed":
        return Standing(True, "done before", seconds, code)
    if told.get("status") != "failed" or code is ExitCode.INTERRUPTED:
        return Standing(False, "stopped before its end", seconds)
    if plan.retry is Retry.none:
        return Standing(True, "failed before, and sweep.retry=none", seconds, code)
    return Standing(False, "failed before", seconds)


def _code(told: Mapping[str, Any]) -> ExitCode:
    """As the run itself ended, or as one must have that does not say."""
    if told.get("exit_code") in set(ExitCode):
        return ExitCode(told["exit_code"])
    if told.get("status") != "completed":
        return ExitCode.ARM_FAILED
    stored = told.get("gate")
    return judge.exit_code(told, [regression.exit_code(stored)] if stored else [])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("arms"), dict) else None


def _changed(experiment: Experiment, told: Mapping[str, Any]) -> str | None:
    """What is not as it was; null where all is."""
    arms = experiment.arms
    before = {name: without_places(arm.get("config") or {}) for name, arm in told["arms"].items()}
    now = {name: without_places(json.loads(json.dumps(arm.resolved))) for name, arm in arms.items()}
    if now != before:
        return "its configuration is another"
    environment = told.get("environment") or {}
    if not _same_code(environment.get("git"), provenance.git()):
        return "jaxgen's code is another"
    if environment.get("cpu") != provenance.cpu_model():
        return "the machine is another"
    own_python = any(
        arm.run.process.python for arm in arms.values()
    )  # whose packages are not ours to ask for
    if not own_python and environment.get("packages") != provenance.packages():
        return "the installed packages are others"
    if _other_settings(arms, told):
        return "XLA_FLAGS or JAX_* are others"
    return _newer_files(experiment, told.get("started_at"))


def _other_settings(arms: Mapping[str, Arm], told: Mapping[str, Any]) -> bool:
    """Whether a worker would be started with other flags now, as far as the result says with which it was."""
    shared = (told.get("measurement") or {}).get("isolation") == Isolation.shared.value
    for name in list(arms)[: 1 if shared else None]:  # the worker of both is the first one's
        seen = told["arms"][name].get("environment") or told["environment"]
        if any(
            seen.get(key, value) != value for key, value in worker_settings(arms[name].run).items()
        ):
            return True
    return False


def _same_code(before: Any, now: Mapping[str, Any] | None) -> bool:
    """Changes that were not committed are the same only where their hashes are known, and equal."""
    if before is None or now is None:
        return before == now
    known = not now["dirty"] or now["diff_sha256"] is not None
    return known and all(before.get(key) == value for key, value in now.items())


def _newer_files(experiment: Experiment, started_at: Any) -> str | None:
    """Which of the files that a point reads were written after its measurement began."""
    try:
        then = datetime.datetime.fromisoformat(started_at).timestamp()
    except (TypeError, ValueError):
        return "its result does not say when it was measured"
    for arm in experiment.arms.values():
        run = arm.run
        places = {
            "weights are": [getattr(run.model, key) for key in _WEIGHTS],
            "prompts are": [getattr(run.prompts, "path", None)],
            "gate's yardstick is": [getattr(experiment.gate, "against", None)],
        }
        for what, given in places.items():
            if any(_newest(Path(place).expanduser()) > then for place in given if place):
                return f"its {what} newer"
    return None


def _newest(place: Path) -> float:
    """When the last file of a place was written, in seconds; minus infinity where there is none."""
    place = (
        place / RESULT if (place / RESULT).is_file() else place
    )  # reports are written anew at any time
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return max((path.stat().st_mtime for path in files), default=-math.inf)


def _seconds(told: Mapping[str, Any]) -> float | None:
    """How long the whole run took."""
    try:
        began, ended = (
            datetime.datetime.fromisoformat(told[key]) for key in ("started_at", "finished_at")
        )
    except (KeyError, TypeError, ValueError):
        return None
    return (ended - began).total_seconds()
