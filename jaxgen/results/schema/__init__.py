"""The schema of what a run leaves: result.json key by key, and the columns of trials.csv.

`results.record` writes by it, `results.reading` and `results.damage` read by it, and the type
checker holds everything between to it. Numbers are in SI base units, bytes and tokens; what is not
known is null and never 0. A key that is `NotRequired` is there only where a run has such a figure:
a result without a gate has no `gate`.
"""

from typing import Any

from jaxgen.results.schema.agreement import (
    Agreement,
    AlgorithmTest,
    Divergence,
    Quality,
)
from jaxgen.results.schema.arms import (
    ArmResult,
    CacheUse,
    Compile,
    Failure,
    MeasuredArm,
    Memory,
    Mesh,
    Metric,
    Program,
    Roofline,
    Startup,
    WatchedCall,
    Weights,
    WideCopies,
    Work,
)
from jaxgen.results.schema.comparison import Comparison, Spread, StartSpreadUsed, Trimmed
from jaxgen.results.schema.environment import Environment
from jaxgen.results.schema.run import (
    CaseResult,
    Gate,
    GateRow,
    Judged,
    Measurement,
    Result,
    Stability,
)
from jaxgen.results.schema.studies import (
    Calibration,
    Coverage,
    InjectedFault,
    MeasuredSpread,
    RepeatedComparison,
    Repetition,
    Selftest,
)
from jaxgen.results.schema.trials import ClockFacts, TrialLoadFacts, TrialRow
from jaxgen.results.schema.types import Direction

__all__ = [
    "SCHEMA_VERSION",
    "Agreement",
    "AlgorithmTest",
    "ArmResult",
    "CacheUse",
    "Calibration",
    "CaseResult",
    "ClockFacts",
    "Comparison",
    "Compile",
    "Coverage",
    "Direction",
    "Divergence",
    "Environment",
    "Failure",
    "Gate",
    "GateRow",
    "InjectedFault",
    "Judged",
    "MeasuredArm",
    "MeasuredSpread",
    "Measurement",
    "Memory",
    "Mesh",
    "Metric",
    "Program",
    "Quality",
    "RepeatedComparison",
    "Repetition",
    "Result",
    "Roofline",
    "Selftest",
    "Spread",
    "Stability",
    "StartSpreadUsed",
    "Startup",
    "TrialLoadFacts",
    "TrialRow",
    "Trimmed",
    "WatchedCall",
    "Weights",
    "WideCopies",
    "Work",
    "version_problem",
]

SCHEMA_VERSION = 1


def version_problem(result: Any) -> str | None:
    """Say why a result.json cannot be read by this version, in one clause; null where it can.

    There has been one version so far. What was added to it since is looked for and not relied on,
    so that every result of it is read; a change of meaning will be a new number, and its upgrade
    will stand here.

    Args:
        result: what was read from the file, whatever it is.
    """
    version = result.get("schema_version") if isinstance(result, dict) else None
    if version is None:
        return "it is no result.json of jaxgen, which has a schema_version"
    if version == SCHEMA_VERSION:
        return None
    remedy = "measure again"
    # An update helps with newer files alone.
    if isinstance(version, int) and version > SCHEMA_VERSION:
        remedy = "a newer jaxgen wrote it: update this one, or measure again"
    return f"its schema_version is {version}, and this jaxgen reads {SCHEMA_VERSION}; {remedy}"
