"""result.json from its top: the run, its cases, and what is said of both arms together."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from jaxgen.results.schema.agreement import Agreement
from jaxgen.results.schema.arms import ArmResult, MeasuredArm
from jaxgen.results.schema.comparison import Comparison
from jaxgen.results.schema.environment import Environment
from jaxgen.results.schema.studies import Calibration, Selftest
from jaxgen.results.schema.types import FILLED, Count, Direction, Plain

Status = Literal["running", "completed", "failed"]


class Stability(TypedDict):
    """How steady the machine was: trends, outliers, and what would narrow the interval."""

    drift: dict[str, dict[str, float | None]]
    outliers: list[dict[str, Any]]
    advice: str | None


class Measurement(TypedDict, total=False):
    """How a run or a case was measured, and the smallest difference that its verdict counts."""

    isolation: str
    margin: float
    margin_source: str
    stopped_because: Any
    # Of each pair of processes, by arm: a variable without meaning in its environment.
    environment_padding_bytes: list[dict[str, Count]]
    # By arm; one number for both in older results.
    repeats: Any


class Judged(TypedDict):
    """What is said of both arms, in the run or in one of its cases."""

    verdict: str | None
    verdict_reason: str | None
    comparison: dict[str, Comparison]
    agreement: Annotated[Agreement | None, FILLED]
    stability: NotRequired[Stability]


class CaseResult(Judged):
    """One case of a workload with a grid."""

    measurement: NotRequired[Measurement]

    params: dict[str, Plain]
    arms: dict[str, MeasuredArm]


class GateRow(TypedDict):
    """One metric of one case, in the stored result and in this one; `change` is a share."""

    params: dict[str, Any]
    metric: str
    unit: str
    better: Direction
    old: float | None
    new: float | None
    change: float | None
    noise: float | None
    status: str
    note: str | None


class Gate(TypedDict):
    """How a run compares with a stored one."""

    against: str
    threshold: float
    noise_floor: float
    status: str
    reason: str
    rows: list[GateRow]
    notes: list[str]


class Result(Judged):
    """The whole of result.json."""

    schema_version: int
    status: Status
    # Null until the run ends, and for ever where it was killed.
    exit_code: int | None
    # Known at the end alone, as weights and machine are a part of it.
    run_id: str | None
    started_at: str
    finished_at: NotRequired[str]
    command: str
    arms: dict[str, ArmResult]
    # Empty where there is one case without parameters: its figures stand in the result itself.
    cases: list[CaseResult]
    environment: Annotated[Environment | None, FILLED]
    measurement: Measurement
    notes: list[str]
    same_program: NotRequired[bool | None]
    gate: NotRequired[Gate | None]
    calibration: NotRequired[Calibration | None]
    selftest: NotRequired[Selftest | None]
