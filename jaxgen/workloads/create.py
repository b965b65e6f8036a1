"""Which workload serves which spec: the one place that knows them all."""

from collections.abc import Callable, Mapping

from jaxgen.engine.engine import Engine
from jaxgen.specs.score import Score
from jaxgen.specs.workload import Batching, Generate
from jaxgen.workloads import prompts
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.continuous import Serving
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.protocol import Workload
from jaxgen.workloads.score import Scoring


def create(engine: Engine, codec: Codec, *, faults: Faults) -> Workload:
    """Return the workload of the engine's run.

    Args:
        engine: the arm's.
        codec: of the arm's checkpoint.
        faults: what is wrong with the arm on purpose, if anything.

    Raises:
        UserError: the workload does not fit the model or the cache, or the prompts cannot be read.
    """
    return _KINDS[type(engine.run.workload)](engine, codec, faults)


def _generating(engine: Engine, codec: Codec, faults: Faults) -> Workload:
    # Read in the worker, with the tokenizer of the checkpoint that the arm has loaded.
    of_run = prompts.read(engine.run.prompts, codec)
    if engine.generation.batching is Batching.continuous:
        return Serving(engine, of_run, codec, faults=faults)
    return Generating(engine, of_run, codec, faults=faults)


def _scoring(engine: Engine, codec: Codec, faults: Faults) -> Workload:
    return Scoring(engine, codec, faults=faults)


_KINDS: Mapping[type, Callable[[Engine, Codec, Faults], Workload]] = {
    Generate: _generating,
    Score: _scoring,
}
