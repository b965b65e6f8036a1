"""Which workload serves which spec: the one place that knows them all."""

from collections.abc import Callable, Mapping, Sequence

from jaxgen.engine.engine import Engine
from jaxgen.engine.faults import Faults
from jaxgen.spec.workload import Generate
from jaxgen.workloads.generate import Generating
from jaxgen.workloads.prompts import Prompt
from jaxgen.workloads.protocol import Workload
from jaxgen.workloads.text import Codec

_KINDS: Mapping[type, Callable[..., Workload]] = {Generate: Generating}


def create(engine: Engine, prompts: Sequence[Prompt], codec: Codec, *, faults: Faults) -> Workload:
    """The workload of the engine's run.

    Raises:
        UserError: what is asked does not fit the model or the cache.
    """
    return _KINDS[type(engine.run.workload)](engine, prompts, codec, faults=faults)
