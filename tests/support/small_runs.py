"""The smallest runs that are still whole: arms for stand-ins, and overrides for real workers."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from jaxgen.config.experiment import load_experiment
from jaxgen.errors import ExitCode
from jaxgen.experiment.execute import execute
from jaxgen.measure.samples import Samples
from jaxgen.results.record import Record
from jaxgen.specs.arm import Arm
from jaxgen.specs.experiment import Experiment
from jaxgen.specs.jit import Strategy
from support.small_models import run

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
    "measure.max_foreign_load=1",  # tests run beside other tests
    "measure.trials=2",
    "measure.blocks=3",
)
"""A whole run in the time that its workers take to start; one start, three blocks of two pairs."""

SCORING = (
    *SMALL[:4],
    "workload=score",
    "workload.query=[3,1,4,1,5]",
    "workload.items=[[9],[2,6]]",
    "workload.label_token_ids=[5,3,5]",
    "measure.max_foreign_load=1",
    "measure.processes=1",
)
"""The same model, asked for scores."""

ALONE = ("baseline=off", "measure.isolation=shared")
"""One worker is enough."""

METRICS = {
    "tokens_per_s": {"unit": "tokens/s", "better": "higher"},
    "latency_s": {"unit": "s", "better": "lower"},
}


def arm(name: str, *, jit: Strategy = Strategy.closure, **choices: str) -> Arm:
    """An arm that no process has to run; `choices` are the options it differs in."""
    same = {
        "model": "tiny",
        "cache": "fixed",
        "jit": jit.name,
        "dtype": "float32",
        "workload": "generate",
    }
    return Arm(name=name, run=run(jit=jit), choices=same | choices, resolved={"name": name})


def two_arms(*, jit: Strategy = Strategy.closure) -> dict[str, Arm]:
    """Return a candidate with a fixed cache and a baseline without one, in the given strategy."""
    return {
        "candidate": arm("candidate"),
        "baseline": arm("baseline", jit=jit, cache="none"),
    }


def experiment_of(arms: Mapping[str, Arm] | None = None, **shared) -> Experiment:
    """Return an experiment of these arms, else of `two_arms`; `shared` are its other fields."""
    return Experiment(arms=arms or two_arms(), **shared)


def loaded_facts(**changed) -> dict:
    """What a worker says of an arm that it has loaded."""
    weights = {"source": "random", "fingerprint": "random:0:abc", "random": True, "bytes": 4096}
    facts = {
        "weights": weights,
        "load_s": 1.5,
        "kv_cache_bytes": 1024,
        "mesh": None,
        "metrics": METRICS,
        "cases": [{}],
    }
    return facts | {"tokenizer": True, "questions": [[1, 2]]} | changed


def warm_call(**changed) -> dict:
    """What a worker says of a warm-up call."""
    timed = {"seconds": 1.25, "trace_s": 0.5, "lower_s": 0.25, "compile_s": 0.125}
    counted = {
        "events": 6,
        "functions": {"loop": 3},
        "persistent_cache_hits": 0,
        "persistent_cache_misses": 2,
    }
    return timed | counted | changed


def trial_row(
    arm: str, *, block: int = 0, pair: int = 0, tokens_per_s: float = 100.0, **changed
) -> dict:
    """One trial as `Samples.add` and `Record.add_trial` take it."""
    row = {"case": 0, "process": 0, "block": block, "pair": pair, "position": 0, "arm": arm}
    row |= {"void": False, "repeats": 1, "compile_events": 0, "functions": {}, "call_s": [0.1]}
    return (
        row | {"metrics": {"tokens_per_s": tokens_per_s, "latency_s": 4 / tokens_per_s}} | changed
    )


def paired(
    speed: float = 2.0,
    *,
    samples: Samples | None = None,
    processes: int = 1,
    blocks: int = 3,
    pairs: int = 2,
    noise=0.0,
) -> Samples:
    """Return samples of two arms whose candidate is `speed` times as fast.

    Odd blocks are faster by the share `noise`.
    """
    samples = samples or Samples(("candidate", "baseline"), METRICS)
    for process in range(processes):
        for block in range(process * blocks, (process + 1) * blocks):
            for pair in range(pairs):
                base, place = (
                    100.0 * (1 + 0.01 * pair),
                    {"process": process, "block": block, "pair": pair},
                )
                off = 1 + noise * (block % 2)
                samples.add(trial_row("baseline", tokens_per_s=base) | place)
                samples.add(trial_row("candidate", tokens_per_s=base * speed * off) | place)
    return samples


def figures_of(samples: Samples) -> tuple[dict, dict]:
    """What a record is shown of the trials so far: figures by arm, and comparisons by metric."""
    return samples.summaries(), samples.comparison()


def finished_result(
    folder: Path, *, arms: Mapping[str, Arm] | None = None, speeds=(200.0, 100.0), **changed
) -> dict:
    """Return a finished result without a verdict.

    It has three blocks of two pairs, whose second trials are 1 % faster.
    """
    arms = arms or two_arms()
    record = Record(arms, folder)
    samples = Samples(arms, METRICS)
    for name, speed in zip(arms, speeds, strict=False):
        record.loaded(name, loaded_facts())
        record.warmed(name, [warm_call()])
        for block in range(3):
            for pair in range(2):
                samples.add(
                    trial_row(name, block=block, pair=pair, tokens_per_s=speed * (1 + 0.01 * pair))
                )
    record.show(*figures_of(samples), case=0)
    record.finish("completed", ExitCode.OK)
    return record.result | changed


VERDICT = {
    "verdict": "faster",
    "verdict_reason": "cache=fixed is 2.00x faster than cache=none",
    "agreement": {
        "status": "identical",
        "tokens_compared": 12,
        "max_abs_logprob_diff": 5.4e-7,
        "first_divergence": None,
    },
}
"""What a judgement adds to a finished result."""


def read_result(folder: Path) -> dict:
    """A run's result.json."""
    return json.loads((folder / "result.json").read_text())


def trials_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a run's trials.csv."""
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def workers_of(pid: int, *, besides: Iterable[psutil.Process] = ()) -> list[psutil.Process]:
    """Return the processes below `pid`; `besides` are those that were there before."""
    return [child for child in psutil.Process(pid).children(recursive=True) if child not in besides]


def execute_small(folder: Path, *overrides: str) -> tuple[ExitCode, dict]:
    """Measure for real, in workers; the exit code and the result as it lies on disk."""
    return execute_composed(folder, *SMALL, *overrides)


def execute_composed(folder: Path, *overrides: str) -> tuple[ExitCode, dict]:
    """The same of any run."""
    code = execute(load_experiment(overrides), folder, pages=False)
    return code, read_result(folder)
