"""Filters of the list of runs: which runs have a value at a key, as `--where key=pattern` asks."""

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence

from jaxgen.errors import UserError
from jaxgen.report import run_facts
from jaxgen.report.lookup import value_at
from jaxgen.report.settings import as_text
from jaxgen.results.collection import StoredRun

_COLUMNS = ("date", "model", "verdict", "status", "run_id", "folder")
"""The keys that every run has beside its options and its configuration."""

_STUDIES = ("calibration", "selftest")


@dataclasses.dataclass(frozen=True)
class Filter:
    """`key=pattern`; the pattern is the value itself, or has `*` and `?` in it."""

    key: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Read a filter from the command line.

        Args:
            text: as it was typed.

        Raises:
            UserError: it is not of that form.
        """
        key, equals, pattern = text.partition("=")
        if not equals or not key:
            raise UserError(
                f"--where {text} is no key=value; try --where verdict=faster or --where cache=fixed"
            )
        return cls(key, pattern)

    def holds(self, run: StoredRun) -> bool:
        """Whether a run passes; a key that the run does not have never does."""
        # Without this, every pattern would hold for a key that is nowhere.
        value = _value_of(run, self.key)
        return value is not None and fnmatch.fnmatchcase(value, self.pattern)


def passing(runs: Sequence[StoredRun], filters: Sequence[Filter]) -> list[StoredRun]:
    """Return the runs that pass every filter.

    Args:
        runs: those to choose from.
        filters: all of them must hold.

    Raises:
        UserError: a filter has a key that no run has, such as a misspelt one.
    """
    # A misspelt key would else find nothing, and look like an answer.
    # All keys are checked before any filter narrows the list: a key that a run has is no mistake,
    # even if the other filters leave that run out.
    for condition in filters:
        _check_key(condition, runs)
    passed = list(runs)
    for condition in filters:
        passed = [run for run in passed if condition.holds(run)]
    return passed


def verdict_or_status(run: StoredRun) -> str:
    """Return what the column `verdict` shows; of a run without a verdict, its study or its gate."""
    result = run.result
    # A failed run may have a verdict over what it measured until then.
    if result["status"] == "failed":
        return "failed"
    if result.get("verdict"):
        return str(result["verdict"])
    for study in _STUDIES:
        if result.get(study):
            return study
    gate_status = value_at(result, "gate", "status")
    return str(gate_status or "-")


def _check_key(condition: Filter, runs: Sequence[StoredRun]) -> None:
    key = condition.key
    if not runs or key in _COLUMNS:
        return
    groups: set[str] = set()
    for run in runs:
        if _value_of(run, key) is not None:
            return
        candidate = run.result["arms"]["candidate"]
        groups.update(candidate.get("choices") or {})
    known = ", ".join([*_COLUMNS, *sorted(groups)])
    raise UserError(
        f"--where {key}={condition.pattern}: no run has {key}; try {known}, or a whole key"
    )


def _value_of(run: StoredRun, key: str) -> str | None:
    """Return a run's value of a column, an option or a key of the configuration.

    The key is the candidate's; with `baseline.` before it, the baseline's.
    """
    columns = _values_of_columns(run)
    if key in columns:
        return columns[key]
    arms = run.result["arms"]
    arm = arms["candidate"]
    if key.startswith("baseline.") and "baseline" in arms:
        arm, key = arms["baseline"], key.removeprefix("baseline.")
    # An option's name is what was typed; a key of the configuration has a dot in it.
    option = value_at(arm, "choices", key)
    if option is not None:
        return as_text(option)
    *above, name = key.split(".")
    section = value_at(arm.get("config"), *above)
    if not above or not isinstance(section, Mapping):
        return None
    # A key that is null is there, and can be asked for: cache.max_len=null.
    if name in section:
        return as_text(section[name])
    return None


def _values_of_columns(run: StoredRun) -> dict[str, str]:
    day = run_facts.date_of(run)[:10]  # a day means all of its runs
    return {
        "date": day,
        "verdict": verdict_or_status(run),
        "status": run.result["status"],
        "run_id": str(run.result.get("run_id")),
        "folder": run.name,
    }
