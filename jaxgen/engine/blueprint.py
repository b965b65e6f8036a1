"""What a run's programs are closed over: structure and settings, no arrays."""

from jaxgen.engine.programs import Blueprint
from jaxgen.models.structure import Structure
from jaxgen.specs.run import Run
from jaxgen.specs.workload import Generate


def blueprint_of(run: Run, structure: Structure, generation: Generate) -> Blueprint:
    """Return the blueprint of a run's programs.

    Args:
        run: its cache as the model can have it.
        structure: of the model, with its layout.
        generation: how text is generated.
    """
    # A run that ignores the end of a text generates the same number of tokens whatever they are.
    ends = () if generation.ignores_eos else structure.architecture.eos_token_ids
    return Blueprint(
        structure=structure,
        activations=run.dtype.between,
        logits=run.dtype.logits.value,
        sampling=generation.sampling,
        eos_token_ids=ends,
        capture=generation.capture,
        window=run.cache.window,
    )
