"""result.json from its top: the run, its cases, and what is said of both arms together."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from jaxgen.results.schema.arms import ArmResult, MeasuredArm
from jaxgen.results.schema.comparison import Comparison
from jaxgen.results.schema.studies import Calibration, Selftest
from jaxgen.results.schema.types import FILLED, Count, Direction, Plain, Positive

Status = Literal["running", "completed", "failed"]


class Divergence(TypedDict):
    """The first place where the two arms' answers differ, with both texts around it."""

    # The prompt, and which of its new tokens.
    index: Count
    position: Count
    # Token ids; null where that answer had ended by then.
    candidate: int | None
    baseline: int | None
    logprobs: dict[str, list[float]] | None
    margin: dict[str, float | None]
    excerpt: dict[str, str]


class Quality(TypedDict):
    """What narrower numbers cost, on the same tokens."""

    against: str
    positions: Count
    next_token_agreement: float
    logit_error: float
    kl_mean: float


class Agreement(TypedDict):
    """Whether the arms' outputs agree; a scoring run has figures of scores, others of tokens."""

    status: str
    reasons: list[str]
    warnings: list[str]
    first_divergence: Divergence | None
    tolerance: float
    tolerance_reason: str
    tokens_compared: NotRequired[Count]
    prompts_compared: NotRequired[Count]
    prompts_diverging: NotRequired[Count]
    max_abs_logprob_diff: NotRequired[float | None]
    kl_max: NotRequired[float | None]
    kl_mean: NotRequired[float | None]
    forced: NotRequired[dict[str, Any] | None]
    quality: NotRequired[Quality | None]
    scores_compared: NotRequired[Count]
    max_abs_score_diff: NotRequired[float | None]
    max_rel_score_diff: NotRequired[float | None]
    rank_flips: NotRequired[list[dict[str, Any]]]


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
    repeats: Count


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


class Environment(TypedDict):
    """Where the workers ran; `load_average_*` and the foreign shares are the parent's."""

    platform: NotRequired[str | None]
    device_kind: str | None
    device_count: NotRequired[int | None]
    backend_version: NotRequired[str | None]
    packages: dict[str, str | None]
    python: NotRequired[str | None]
    system: NotRequired[str | None]
    cpu: str | None
    cores: NotRequired[int | None]
    memory_bytes: NotRequired[Positive | None]
    xla_flags: NotRequired[str | None]
    jax_environment: NotRequired[dict[str, Any]]
    jax_config: NotRequired[dict[str, Any]]
    git: NotRequired[dict[str, Any]]
    load_average_before: NotRequired[list[float]]
    load_average_after: NotRequired[list[float]]
    foreign_cpu_share: NotRequired[float | None]
    foreign_device_load: NotRequired[dict[str, Any] | None]


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
