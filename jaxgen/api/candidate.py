"""A composed candidate that can be used in this very process, without workers."""

from collections.abc import Iterable

from jaxgen.config.experiment import load_candidate
from jaxgen.errors import UserError
from jaxgen.specs.run import Process, Run


def candidate(overrides: Iterable[str]) -> Run:
    """Compose the candidate alone, for this process.

    Args:
        overrides: as on the command line.

    Raises:
        UserError: as on the command line; or the candidate asks for processes of its own, while
            this one is running already.
    """
    run = load_candidate(overrides).run
    if run.mesh.joins or run.mesh.local_processes > 1:
        raise UserError(
            "mesh.processes, mesh.coordinator and mesh.local_processes are for workers that jaxgen "
            "starts; here jax runs in your own process: give mesh.tensor and mesh.data alone"
        )
    # jax reads XLA_FLAGS once, and another interpreter would be another process.
    if run.process != Process():
        raise UserError(
            "process.* is for workers that jaxgen starts; here jax runs in your own process: set "
            "XLA_FLAGS and other variables before it starts"
        )
    return run
