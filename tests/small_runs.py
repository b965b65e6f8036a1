"""The smallest runs that are still whole: arms for stand-ins, and the command line's words for real workers."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from small_models import run

from jaxgen.config.arms import load_arms
from jaxgen.errors import ExitCode
from jaxgen.experiment import execute
from jaxgen.spec.arm import Arm
from jaxgen.spec.jit import Strategy
from jaxgen.spec.measure import Measure
from jaxgen.spec.run import Baseline

SMALL = (
    "model=tiny",
    "model.weights=random",
    "model.shapes.num_layers=1",
    "model.shapes.hidden_size=32",
    "prompts=synthetic",
    "prompts.length=5",
    "workload.max_new_tokens=4",
    "workload.ignore_eos=true",
    "measure=quick",
    "measure.max_seconds=2",
)
"""A whole run in the time that its workers take to start; the blocks end after three."""

METRICS = {
    "tokens_per_s": {"unit": "tokens/s", "better": "higher"},
    "latency_s": {"unit": "s", "better": "lower"},
}


def arm(name: str, *, jit: Strategy = Strategy.closure, measure: Measure = Measure(), **choices: str) -> Arm:  # noqa: B008
    """An arm that no process has to run; `choices` are the options it differs in."""
    same = {"cache": "fixed", "jit": jit.name, "dtype": "float32"}
    spec = dataclasses.replace(run(jit=jit), measure=measure, baseline=Baseline())
    return Arm(name=name, run=spec, choices=same | choices, resolved={"name": name})


def two_arms(*, jit: Strategy = Strategy.closure, measure: Measure = Measure()) -> dict[str, Arm]:  # noqa: B008
    """The candidate with a fixed cache, the baseline with none and with the strategy that is given."""
    return {
        "candidate": arm("candidate", measure=measure),
        "baseline": arm("baseline", jit=jit, measure=measure, cache="none"),
    }


def loaded_facts(**changed) -> dict:
    """What a worker says of an arm that it has loaded."""
    weights = {"source": "random", "fingerprint": "random:0:abc", "random": True, "bytes": 4096}
    return {"weights": weights, "load_s": 1.5, "kv_cache_bytes": 1024, "metrics": METRICS} | changed


def trial_row(arm: str, *, block: int = 0, pair: int = 0, tokens_per_s: float = 100.0, **changed) -> dict:
    """One trial as `Record.add_trial` takes it."""
    row = {"process": 0, "block": block, "pair": pair, "position": 0, "arm": arm}
    row |= {"void": False, "repeats": 1, "compile_events": 0, "functions": {}}
    return row | {"metrics": {"tokens_per_s": tokens_per_s, "latency_s": 4 / tokens_per_s}} | changed


def read_result(folder: Path) -> dict:
    """A run's result.json."""
    return json.loads((folder / "result.json").read_text())


def execute_small(folder: Path, *overrides: str) -> tuple[ExitCode, dict]:
    """Measure for real, in workers; the exit code and the result as it lies on disk."""
    arms: Mapping[str, Arm] = load_arms([*SMALL, *overrides])
    code = execute(arms, folder)
    return code, read_result(folder)
