"""What a worker's process is started with: its environment variables, XLA flags and devices."""

import dataclasses
import os
from typing import Any

from jaxgen.specs.run import Process, Run

HOST_DEVICES = "JAX_NUM_CPU_DEVICES"


def process_of(run: Run) -> Process:
    """Return the settings of an arm's process, with as many host devices as its mesh has.

    jax makes host devices only while it starts. A number that the user has given stays; platforms
    other than the CPU have the devices that they have.
    """
    settings, needed = run.process, run.mesh.host_devices
    if run.mesh.devices == 1 or needed is None:
        return settings
    if HOST_DEVICES in os.environ or HOST_DEVICES in dict(settings.env):
        return settings
    # A mesh of 4 devices in one process needs 4 of them; in 2 local processes each makes 2.
    return dataclasses.replace(settings, env=(*settings.env, (HOST_DEVICES, str(needed))))


def environment_of(process: Process, *, shares_device: bool) -> dict[str, str]:
    """Return the variables that a worker starts with: the parent's, and the arm's on top.

    Args:
        process: the arm's settings.
        shares_device: another worker uses the device too.
    """
    environment = dict(os.environ)
    if shares_device:
        # Else the first process takes most of a GPU's memory when it starts.
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # After the default above, so that an arm can still ask for preallocation.
    environment.update(process.env)
    if process.xla_flags:
        # Added to the user's own flags, not put in their place: those hold for both arms.
        inherited = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"{inherited} {process.xla_flags}".strip()
    return environment


def worker_settings(run: Run) -> dict[str, Any]:
    """Return what an arm's worker would record of its environment if it were started now.

    Returns:
        `xla_flags` and `jax_environment`, as a result's section `environment` has them.
    """
    # Whether the device is shared changes neither XLA_FLAGS nor a JAX_ variable.
    environment = environment_of(process_of(run), shares_device=True)
    jax_variables = {}
    for name in sorted(environment):
        if name.startswith("JAX_"):
            jax_variables[name] = environment[name]
    return {"xla_flags": environment.get("XLA_FLAGS"), "jax_environment": jax_variables}
