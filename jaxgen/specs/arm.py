"""One arm of a run: what is measured, and how the command line came to it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxgen.specs.run import Run


@dataclasses.dataclass(frozen=True)
class Arm:
    """One fully composed configuration.

    Attributes:
        name: `candidate` (the command line) or `baseline`.
        run: the validated specs; the part that decides what is executed.
        choices: the option of each group, `{"cache": "fixed", ...}`, and the experiment if there is one.
        resolved: the composed configuration as JSON values, for the record.
    """

    name: str
    run: Run
    choices: dict[str, str]
    resolved: dict[str, Any]


def names_of(arms: Mapping[str, Arm]) -> dict[str, str]:
    """What tells the arms apart: the options that differ (`cache=fixed`), else just candidate and baseline."""
    first, *rest = arms.values()
    varying = [
        group
        for group in first.choices
        if any(first.choices[group] != arm.choices.get(group) for arm in rest)
    ]
    groups = [group for group in varying if group not in ("baseline", "experiment")]
    if not groups:
        return {name: f"the {name}" for name in arms}
    return {
        name: " ".join(f"{group}={arm.choices.get(group)}" for group in groups)
        for name, arm in arms.items()
    }
