"""A self-test that goes on where an earlier one was stopped (`study.continues`).

Its measurements count only if they were made and judged as the new ones are.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.results import schema
from jaxgen.results.files import RESULT
from jaxgen.results.identity import comparable_config
from jaxgen.results.reading import Unreadable, read_result
from jaxgen.results.record import Record
from jaxgen.specs.study import Selftest

_MACHINE = ("cpu", "cores", "device_kind", "device_count")
_PACKAGES = ("jaxgen", "jax", "jaxlib")


@dataclasses.dataclass(frozen=True)
class Earlier:
    """What a self-test that was stopped has measured.

    Attributes:
        same: its measurements of equal arms.
        slowed: as many of the slowed candidate.
        conditions: its margin, start spread, machine and packages.
    """

    same: list[schema.Repetition]
    slowed: list[schema.Repetition]
    conditions: dict[str, Any]


def earlier(study: Selftest, record: Record) -> Earlier | None:
    """Read what an earlier self-test has measured; null where none is continued.

    Args:
        study: says which, if any.
        record: of the new self-test.

    Raises:
        UserError: there is no such result, or it was planned otherwise.
    """
    if study.continues is None:
        return None
    result = _read(study.continues)
    section = result["selftest"]
    # The configuration is known before any worker starts; machine and margin only after (`add`).
    others = _differing_groups(result, record.result)
    if section.get("slowdown") != study.slowdown:
        others.append("study.slowdown")
    if others:
        raise UserError(
            f"study.continues={study.continues} was measured with another {', '.join(others)}"
        )
    # One that was stopped between the two kinds has one more of the first.
    count = min(len(section["same"]), len(section["slowed"]))
    if count >= study.repetitions:
        raise UserError(
            f"study.continues={study.continues} has {count} measurements: raise study.repetitions"
        )
    return Earlier(section["same"][:count], section["slowed"][:count], _conditions(result))


def add(measured: Earlier, record: Record) -> None:
    """Add earlier measurements to the record.

    Args:
        measured: by the earlier self-test.
        record: of the new one, with its environment and margin.

    Raises:
        UserError: machine, packages, margin or start spread are not the same.
    """
    here = _conditions(record.result)
    differing = []
    for key, was in measured.conditions.items():
        if was != here[key]:
            differing.append(f"{key} {was}, not {here[key]}")
    if differing:
        raise UserError(f"study.continues was measured elsewhere: with {', '.join(differing)}")
    section = record.result.get("selftest")
    assert section is not None
    section["same"] += measured.same
    section["slowed"] += measured.slowed
    record.note(
        f"{len(measured.same)} of the measurements of each kind are of an earlier run, which was "
        "stopped"
    )


def _read(folder: str) -> Mapping[str, Any]:
    """Return the result of a self-test."""
    problem: object = "it is of no self-test"
    try:
        result = read_result(Path(folder).expanduser() / RESULT)
        if result.get("selftest"):
            return result
    except Unreadable as error:
        problem = error
    raise UserError(
        f"study.continues={folder} cannot be continued: {problem}; give the run folder of a "
        "self-test that was stopped"
    )


def _differing_groups(result: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the groups of the configuration in which two self-tests measure something else."""
    theirs, ours = _compared_config(result), _compared_config(other)
    groups = sorted({*theirs, *ours})
    return [group for group in groups if theirs.get(group) != ours.get(group)]


def _compared_config(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a self-test's configuration, as far as it is about what is measured."""
    # Through JSON, as the other one was: there a tuple has become a list, and would differ from it.
    plain = json.loads(json.dumps(result["arms"]["candidate"]["config"]))
    config = comparable_config(plain)
    # Without the study: raising its repetitions is what one continues for.
    return {group: values for group, values in config.items() if group != "study"}


def _conditions(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a self-test's figures depend on; null for what it does not say."""
    environment = result["environment"] or {}
    packages = environment.get("packages") or {}
    section = result["selftest"]
    # Calibrated anew in between, the intervals would be of two kinds.
    spread = section.get("start_spread") or {}
    conditions: dict[str, Any] = {
        "margin": section.get("margin"),
        "start spread": spread.get("deviation"),
    }
    for key in _MACHINE:
        conditions[key] = environment.get(key)
    for key in _PACKAGES:
        conditions[key] = packages.get(key)
    return conditions
