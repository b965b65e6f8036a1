"""The sections of result.json before anything is measured: null, or empty, and never 0."""

from collections.abc import Iterable, Mapping

from jaxgen.results.schema import (
    ArmResult,
    CaseResult,
    Compile,
    MeasuredArm,
    Memory,
    Roofline,
    Startup,
)
from jaxgen.specs.arm import Arm


def arm(arm: Arm) -> ArmResult:
    """Return the section of an arm that is not loaded yet."""
    return {
        # Copies: the composed arm stays what it was, whatever becomes of the result.
        "choices": dict(arm.choices),
        "config": dict(arm.resolved),
        "weights": None,
        "mesh": None,
        "startup": _startup(),
        "metrics": {},
        "compile": _compile(),
        "memory": _memory(),
        "roofline": _roofline(),
        "program": {"stablehlo_sha256": None, "module_bytes": None},
        "failure": None,
    }


def case(params: Mapping[str, int], arms: Iterable[str]) -> CaseResult:
    """Return the section of one case of a grid."""
    # Startup, memory and program are of the whole arm and stand there once.
    measured: dict[str, MeasuredArm] = {}
    for name in arms:
        measured[name] = {"metrics": {}, "compile": _compile()}
    return {
        "params": dict(params),
        "arms": measured,
        "comparison": {},
        "agreement": None,
        "verdict": None,
        "verdict_reason": None,
    }


def _startup() -> Startup:
    return {
        "load_s": None,
        "trace_s": None,
        "lower_s": None,
        "compile_s": None,
        "warmup_s": None,
        "persistent_cache_hits": None,
        "persistent_cache_misses": None,
    }


def _compile() -> Compile:
    return {"events_per_trial": [], "warm": None, "functions": {}, "void_trials": 0}


def _memory() -> Memory:
    return {
        "weights_bytes": None,
        "kv_cache_bytes": None,
        "device_peak_bytes": None,
        "program_temp_bytes": None,
        "program_alias_bytes": None,
        "host_peak_rss_bytes": None,
    }


def _roofline() -> Roofline:
    return {
        "bytes_per_step": None,
        "flops_per_step": None,
        "bandwidth_bytes_per_s": None,
        "peak_flops_per_s": None,
        "mbu": None,
        "mfu": None,
    }
