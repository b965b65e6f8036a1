"""What else used the machine during a run: other programs make the figures noisier."""

import dataclasses
from typing import Any

from jaxgen.machine import cpu_load
from jaxgen.machine.device_load import foreign_device_load
from jaxgen.results.record import Record

NOISY_SHARE = 0.05  # of the processor, by other programs


@dataclasses.dataclass(frozen=True)
class Load:
    """The load that the run found.

    Attributes:
        foreign_device: what other programs do on the accelerator; null where none can tell.
        cpu: a snapshot of the processor's use; null until `with_cpu`.
    """

    foreign_device: dict[str, Any] | None
    cpu: dict[str, Any] | None = None

    def with_cpu(self) -> "Load":
        """Return the load with a snapshot of the processor, the first one taken."""
        if self.cpu is not None:
            return self
        return dataclasses.replace(self, cpu=cpu_load.snapshot())


def before_workers() -> Load:
    """Return the load of the accelerator; called before this run's workers use it."""
    return Load(foreign_device_load())


def note(record: Record, load: Load) -> None:
    """Put the load into the record's environment, and say where it spoils the figures.

    Args:
        record: of the run.
        load: as it was before the trials.
    """
    # Here all workers have ended, and what they used is counted with the children of this process:
    # it does not pass for the load of others.
    after = cpu_load.snapshot()
    share = cpu_load.foreign_cpu_share(load.cpu or after, after)
    device = load.foreign_device
    record.add_to_environment(
        {
            "load_average_after": after["load_average"],
            "foreign_cpu_share": share,
            "foreign_device_load": device,
        }
    )
    if share is not None and share > NOISY_SHARE:
        record.note(
            f"other programs used {share:.0%} of the processor during the run: "
            "the figures are noisier for it"
        )
    if device and (device["foreign_processes"] or device["utilisation"]):
        record.note("other programs use the device: the figures are noisier for it")
