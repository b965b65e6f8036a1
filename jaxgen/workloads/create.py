"""Which workload serves which spec: the one place that knows them all."""

from collections.abc import Callable, Mapping

from jaxgen.engine.engine import Engine
from jaxgen.specs.score import Score
from jaxgen.specs.workload import Batching, Generate
from jaxgen.workloads.codec import Codec
from jaxgen.workloads.continuous import Serving
from jaxgen.workloads.faults import Faults
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.prompts import read
from jaxgen.workloads.protocol import Workload
from jaxgen.workloads.score import Scoring


def create(engine: Engine, codec: Codec, *, faults: Faults) -> Workload:
    """The workload of the engine's run.

    Raises:
        UserError: what is asked does not fit the model or the cache, or the prompts cannot be read.
    """
    return _KINDS[type(engine.run.workload)](engine, codec, faults)


def _generating(engine: Engine, codec: Codec, faults: Faults) -> Workload:
    kind = Serving if engine.generation.batching is Batching.continuous else Generating
    return kind(engine, read(engine.run.prompts, codec), codec, faults=faults)


def _scoring(engine: Engine, codec: Codec, faults: Faults) -> Workload:
    return Scoring(engine, codec, faults=faults)


_KINDS: Mapping[type, Callable[[Engine, Codec, Faults], Workload]] = {
    Generate: _generating,
    Score: _scoring,
}
