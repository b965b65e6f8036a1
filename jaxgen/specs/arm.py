"""One arm of a run: what is measured, and how the command line came to it."""

import dataclasses
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
