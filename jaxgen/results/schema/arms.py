"""The sections of result.json below `arms`: what an arm is, and what was measured of it."""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

from jaxgen.results.schema.trials import ClockFacts, TrialLoadFacts
from jaxgen.results.schema.types import FILLED, Count, Direction


class Metric(TypedDict):
    """One metric of one arm, in `unit`: one sample a trial, null where a trial could give none."""

    unit: str
    better: Direction
    # Void trials have no sample here: trials.csv and `compile` alone know of them.
    samples: list[float | None]
    n: Count
    mean: float | None
    std: float | None
    median: float | None
    # Over processes of blocks of trials, weighted as the ratio is; null where a sample is not
    # positive. Absent of figures that are not compared.
    geometric_mean: NotRequired[float | None]
    min: float | None
    max: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class Compile(TypedDict):
    """What an arm compiled inside its trials; `functions` counts the compiles of each."""

    events_per_trial: list[Count]
    # Null where no trial was made; the void ones count here.
    warm: bool | None
    functions: dict[str, Count]
    void_trials: Count


class PrefillRoofline(TypedDict, total=False):
    """The work of a prefill and its shares of the probed rates."""

    bytes: float | None
    flops: float | None
    mbu: float | None
    mfu: float | None


class Roofline(TypedDict):
    """The work of one step, the probed rates, and the shares of them that were reached."""

    bytes_per_step: float | None
    flops_per_step: float | None
    bandwidth_bytes_per_s: float | None
    peak_flops_per_s: float | None
    mbu: float | None
    mfu: float | None
    # The metric whose step the figures above are of.
    of: NotRequired[str]
    # How bandwidth was probed: over so many bytes, and with the fastest of several readers.
    working_set_bytes: NotRequired[int]
    bandwidth_form: NotRequired[str]
    # `cache` or `memory`, of whose read rate `mbu` is the share; null where it is not known.
    reads_from: NotRequired[str | None]
    # A step's time, and the least that its bytes and its FLOPs take at the probed rates.
    step_s: NotRequired[float | None]
    bytes_s: NotRequired[float | None]
    flops_s: NotRequired[float | None]
    prefill: NotRequired[PrefillRoofline]


class CacheUse(TypedDict):
    """How the KV cache was used; further keys are those of a workload's own."""

    allocated_bytes: NotRequired[float]
    reserved_bytes: float | None
    used_bytes: float | None
    saved_bytes: float | None
    unused_share: float | None


class Work(TypedDict):
    """What work an arm did in one call; further keys are those of a workload's own."""

    cache: NotRequired[CacheUse | None]


class MeasuredArm(TypedDict):
    """The figures of one arm in one case."""

    metrics: dict[str, Metric]
    compile: Compile
    # Of every single call, while a trial may repeat its call many times.
    calls: NotRequired[Metric | None]
    roofline: NotRequired[Roofline]
    workload: NotRequired[Work]
    capture: NotRequired[dict[str, Any] | None]
    # One for each pair of processes.
    clock: NotRequired[list[ClockFacts]]
    load: NotRequired[TrialLoadFacts]


class Weights(TypedDict):
    """Where an arm's weights come from."""

    source: str
    fingerprint: str
    random: bool
    bytes: Count


class WatchedCall(TypedDict):
    """What one call before the trials compiled, and what that took."""

    seconds: float
    trace_s: float
    lower_s: float
    compile_s: float
    events: Count
    functions: dict[str, Count]
    persistent_cache_hits: Count
    persistent_cache_misses: Count


class Start(TypedDict):
    """One start of a fresh process."""

    import_s: float
    load_s: float
    first_call: WatchedCall
    second_call: WatchedCall


class SecondPrecompile(TypedDict):
    """What a second warm-up of the same process compiled.

    `ratio` is the first one's seconds over its own; null where it compiled nothing.
    """

    events: Count
    ratio: float | None


class Startup(TypedDict):
    """From an arm's start to its first trial; null where nothing was warmed up."""

    load_s: float | None
    # Sums over all calls before the trials, whatever their case.
    trace_s: float | None
    lower_s: float | None
    compile_s: float | None
    warmup_s: float | None
    persistent_cache_hits: Count | None
    persistent_cache_misses: Count | None
    import_s: NotRequired[float]
    calls: NotRequired[list[WatchedCall]]
    # The first call after the warm-up, in which a warm arm compiles nothing.
    next_call: NotRequired[WatchedCall | None]
    # Fresh processes over an empty and over a filled persistent compilation cache.
    cold: NotRequired[Start | None]
    warm: NotRequired[Start | None]
    precompile_ratio: NotRequired[float | None]
    second_precompile: NotRequired[SecondPrecompile | None]


class Memory(TypedDict):
    """Bytes that an arm needs; `reasons` says why a figure is null."""

    weights_bytes: Count | None
    kv_cache_bytes: Count | None
    device_peak_bytes: Count | None
    program_temp_bytes: Count | None
    # What the program writes over its own arguments, such as a donated cache.
    program_alias_bytes: Count | None
    host_peak_rss_bytes: Count | None
    reasons: NotRequired[dict[str, str]]


class WideCopy(TypedDict):
    """One operation that writes an array in a wider dtype."""

    operation: str
    array: str
    bytes: Count


class WideCopies(TypedDict):
    """What a program widens before it uses it."""

    count: Count
    bytes: Count
    operations: list[WideCopy]


class Program(TypedDict):
    """The program of one step of an arm; `reasons` says why a figure is null."""

    stablehlo_sha256: str | None
    module_bytes: Count | None
    programs: NotRequired[dict[str, Any]]
    cost: NotRequired[dict[str, Any] | None]
    copies: NotRequired[Count | None]
    wide_copies: NotRequired[WideCopies | None]
    captured_bytes: NotRequired[Count | None]
    reasons: NotRequired[dict[str, str]]


class Mesh(TypedDict):
    """How an arm's model is spread over devices; `cut` and further keys are those of its layout."""

    data: Count
    tensor: Count
    weights_bytes_per_device: Count | None
    kv_cache_bytes_per_device: Count | None
    reasons: NotRequired[list[str]]
    collectives: NotRequired[dict[str, dict[str, Count]]]


class Failure(TypedDict):
    """What ended an arm's process."""

    kind: str
    message: str
    traceback: str | None
    signal: NotRequired[Any]


class ArmResult(MeasuredArm):
    """One arm of a run: what it is, and its figures where the run has no grid of cases."""

    choices: dict[str, str]
    config: dict[str, Any]
    weights: Annotated[Weights | None, FILLED]
    mesh: Mesh | None
    startup: Startup
    memory: Memory
    program: Program
    failure: Failure | None
    # Only where it is not that of the run, as with a `process.python` of its own.
    environment: NotRequired[Mapping[str, Any] | None]
    profile: NotRequired[dict[str, Any] | None]
