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
        choices: the option of each group, `{"cache": "fixed", ...}`, and the experiment if there is
            one.
        resolved: the composed configuration as JSON values, for the record.
    """

    name: str
    run: Run
    choices: dict[str, str]
    resolved: dict[str, Any]


def names_of(arms: Mapping[str, Arm]) -> dict[str, str]:
    """Name the arms by what tells them apart, for sentences and tables.

    Returns:
        By arm: the options in which they differ (`cache=fixed`), or just `the candidate` and
        `the baseline` where they differ in no option.
    """
    first = next(iter(arms.values()))
    # With one arm alone nothing varies, and it is called just `the candidate`.
    varying = []
    for group, option in first.choices.items():
        # An experiment and the baseline's own option choose groups; they are none of an arm's own.
        if group in ("baseline", "experiment"):
            continue
        if any(arm.choices.get(group) != option for arm in arms.values()):
            varying.append(group)
    names = {}
    for name, arm in arms.items():
        # Arms that differ in a key alone, as in `cache.bucket`, have no option to be named by.
        options = [f"{group}={arm.choices.get(group)}" for group in varying]
        names[name] = " ".join(options) or f"the {name}"
    return names
