"""Startup as a measurement: fresh processes over an empty and a filled compilation cache."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from jaxgen.console.progress import Console
from jaxgen.executor.pool import Pool
from jaxgen.results import schema
from jaxgen.results.files import LOG
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.measure import Startup

_COMPILING = ("trace_s", "lower_s", "compile_s")


def add_startups(
    experiment: Experiment, startup: Startup, record: Record, console: Console
) -> None:
    """Start each arm anew, and add what that took to its section.

    Args:
        experiment: the arms.
        startup: what to report.
        record: of the run.
        console: shows the progress.
    """
    measured = startups(experiment.arms, startup, log=record.folder / LOG, console=console)
    for arm, figures in measured.items():
        section = record.result["arms"][arm]["startup"]
        section.update(cast(schema.Startup, figures))


def startups(
    arms: Mapping[str, Arm], startup: Startup, *, log: Path, console: Console
) -> dict[str, dict[str, Any]]:
    """Start each arm alone over an empty cache folder, and once more over what that left there.

    Args:
        arms: by name.
        startup: what to report; a warm start needs a cold one before it all the same.
        log: gets what the processes print.
        console: shows the progress.

    Returns:
        By arm: `cold` and `warm`, each `{import_s, load_s, first_call, second_call}` or null, with
        a call's facts as `LoadedArm.prepare` has them; `precompile_ratio`, cold over warm, of
        trace, lower and compile seconds; and `second_precompile`, what a second warm-up in the
        same process compiled: `{events, ratio}`, where the ratio is null for a second one that
        compiled nothing at all.
    """
    measured = {}
    # One arm at a time: two starts would share the disk and the cores, and both look slow.
    for name, arm in arms.items():
        measured[name] = _startup_of(name, arm, startup, log=log, console=console)
    return measured


def _startup_of(
    name: str, arm: Arm, startup: Startup, *, log: Path, console: Console
) -> dict[str, Any]:
    """Measure the startup of one arm."""
    warm = None
    with tempfile.TemporaryDirectory(prefix="jaxgen-compiled-") as folder:
        with console.stage(name, "cold start"):
            # The cold start fills the folder that the warm one finds, so that it is made even if
            # not asked for.
            cold = _start(name, arm, folder, log=log)
        if startup is not Startup.cold:
            with console.stage(name, "warm start"):
                warm = _start(name, arm, folder, log=log)
    first_s = _compiling_s(cold["first_call"])
    warm_s = _compiling_s(warm["first_call"]) if warm else 0.0
    second = cold["second_call"]
    return {
        "cold": None if startup is Startup.warm else cold,
        "warm": warm,
        "precompile_ratio": _ratio(first_s, warm_s),
        "second_precompile": {
            "events": second["events"],
            "ratio": _ratio(first_s, _compiling_s(second)),
        },
    }


def _start(name: str, arm: Arm, cache: str, *, log: Path) -> dict[str, Any]:
    """Start an arm's process over a cache folder; return how long each step took."""
    environment = {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        # Else jax keeps only programs that took long to compile.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with Pool({name: arm}, log=log, environment=environment) as pool:
        facts = pool.load(name, lambda *_progress: None)
        first_call = pool.call(name, "precompile", case=0)
        # The same call in the same process: what it compiles again, jit's own cache in memory did
        # not keep.
        second_call = pool.call(name, "precompile", case=0)
        import_s = pool.environments[name]["import_s"]
    return {
        "import_s": import_s,
        "load_s": facts["load_s"],
        "first_call": first_call,
        "second_call": second_call,
    }


def _compiling_s(call: Mapping[str, Any]) -> float:
    return sum(call[part] for part in _COMPILING)


def _ratio(before_s: float, after_s: float) -> float | None:
    return before_s / after_s if after_s > 0 else None
