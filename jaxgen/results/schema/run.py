"""result.json from its top: the run, its cases, and what is said of both arms together."""

from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

from jaxgen.results.schema.arms import ArmResult, MeasuredArm
from jaxgen.results.schema.environment import Environment
from jaxgen.results.schema.types import FILLED, Count, Direction, Interval, Plain, Positive

Status = Literal["running", "completed", "failed"]


class Spread(TypedDict):
    """Standard deviations of the log ratio that each level of the nesting adds, as shares."""

    # Null where a level has one unit only: the level above then holds what it adds.
    process: float | None
    block: float | None
    pair: float | None


class Comparison(TypedDict):
    """The candidate against the baseline in one metric; above 1 the candidate is better."""

    ratio: Positive
    # Null below two blocks: one says nothing of how far blocks differ.
    ci95: Interval | None
    blocks: Count
    pairs: Count
    # Over blocks, or over processes where there are several; null below six of them.
    p_value: float | None
    processes: Count
    spread: Spread


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
    # Of each pair of processes, by arm: a variable without meaning in its environment.
    environment_padding_bytes: list[dict[str, Count]]
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


class Repetition(TypedDict, total=False):
    """One of many measurements of the same arms: its comparison, and its verdict in a self-test."""

    process: Required[Count]
    verdict: str
    reason: str
    ratio: Positive
    ci95: Interval | None
    blocks: Count
    pairs: Count
    p_value: float | None
    processes: Count
    spread: Spread


class RepeatedComparison(Comparison):
    """One of many comparisons of equal arms, and the pair of processes that it was measured in."""

    process: Count


class Calibration(TypedDict):
    """A/A comparisons and the noise floor that they show; only the comparisons until the end."""

    comparisons: list[RepeatedComparison]
    floor: NotRequired[Positive]
    repetitions: NotRequired[Count]
    false_verdict_rate: NotRequired[float | None]
    measured_at: NotRequired[str]
    plan: NotRequired[dict[str, Any]]
    key: NotRequired[str]
    kept_in: NotRequired[str]
    false_verdict_rates: NotRequired[dict[str, float | None]]
    default_margin: NotRequired[float]


class InjectedFault(TypedDict):
    """One run with a fault that jaxgen must find."""

    verdict: str | None
    reason: str
    found: bool
    result: str


class Selftest(TypedDict):
    """How often jaxgen was right about equal arms, a known slowdown and faults."""

    same: list[Repetition]
    slowed: list[Repetition]
    slowdown: float
    faults: dict[str, InjectedFault]
    margin: NotRequired[float]
    rates: NotRequired[dict[str, float]]


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
