"""Startup as a measurement: fresh processes over an empty and over a filled persistent compilation cache."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.console.progress import Console
from jaxgen.executor.pool import Pool
from jaxgen.specs.arm import Arm
from jaxgen.specs.measure import Startup

_PARTS = ("trace_s", "lower_s", "compile_s")


def startups(
    arms: Mapping[str, Arm], asked: Startup, *, log: Path, console: Console
) -> dict[str, dict[str, Any]]:
    """Start each arm alone, in processes of its own, once over an empty cache folder and once more over what that left.

    Args:
        arms: by name.
        asked: what to report; a warm start needs a cold one before it all the same.
        log: gets what the processes print.
        console: shows the progress.

    Returns:
        By arm: `cold` and `warm`, each `{import_s, load_s, first_call, second_call}` or null, with a call's facts as
        `LoadedArm.prepare` has them; `precompile_ratio`, cold over warm, of trace, lower and compile seconds; and
        `second_precompile`, what a second warm-up in the same process compiled: `{events, ratio}`, where the ratio is
        null for a second one that compiled nothing at all.
    """
    return {
        name: _startup(name, arm, asked, log=log, console=console) for name, arm in arms.items()
    }


def _startup(name: str, arm: Arm, asked: Startup, *, log: Path, console: Console) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="jaxgen-compiled-") as folder:
        starts = {}
        for kind in (Startup.cold, Startup.warm)[: 1 if asked is Startup.cold else 2]:
            with console.stage(name, f"{kind.value} start"):
                starts[kind] = _start(name, arm, folder, log=log)
    cold, warm = starts[Startup.cold], starts.get(Startup.warm)
    return {
        "cold": cold if asked is not Startup.warm else None,
        "warm": warm,
        "precompile_ratio": _ratio(
            _compiling_s(cold["first_call"]), _compiling_s(warm["first_call"]) if warm else 0
        ),
        "second_precompile": {
            "events": cold["second_call"]["events"],
            "ratio": _ratio(_compiling_s(cold["first_call"]), _compiling_s(cold["second_call"])),
        },
    }


def _start(name: str, arm: Arm, cache: str, *, log: Path) -> dict[str, Any]:
    environment = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with Pool({name: arm}, log=log, environment=environment) as pool:
        facts = pool.load(name, lambda *_progress: None)
        calls = [pool.call(name, "precompile", case=0) for _ in range(2)]
        import_s = pool.environments[name]["import_s"]
    return {
        "import_s": import_s,
        "load_s": facts["load_s"],
        "first_call": calls[0],
        "second_call": calls[1],
    }


def _compiling_s(call: Mapping[str, Any]) -> float:
    return sum(call[part] for part in _PARTS)


def _ratio(before_s: float, after_s: float) -> float | None:
    return before_s / after_s if after_s > 0 else None
