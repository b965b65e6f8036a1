"""The section `environment` of result.json: where the workers ran, and beside what else."""

from typing import Any, NotRequired, TypedDict

from jaxgen.results.schema.types import Count, Positive


class Processor(TypedDict, total=False):
    """The processor's kind and its settings, as `machine.processor` has them."""

    family: str | None
    model: str | None
    stepping: str | None
    microcode: str | None
    cache_bytes: dict[str, Count] | None
    governor: str | None
    turbo: bool | None
    smt: str | None
    transparent_huge_pages: str | None
    # Cores' worth of time that a container may use; null is no limit.
    cpu_limit: float | None
    affinity: list[int] | None
    python_hash_seed: str | None
    address_space_randomisation: int | None


class Environment(TypedDict):
    """Where the workers ran; `load_average_*` and the foreign shares are the parent's."""

    platform: NotRequired[str | None]
    device_kind: str | None
    device_count: NotRequired[int | None]
    backend_version: NotRequired[str | None]
    packages: dict[str, str | None]
    python: NotRequired[str | None]
    system: NotRequired[str | None]
    cpu: str | None
    cores: NotRequired[int | None]
    processor: NotRequired[Processor | None]
    memory_bytes: NotRequired[Positive | None]
    xla_flags: NotRequired[str | None]
    jax_environment: NotRequired[dict[str, Any]]
    jax_config: NotRequired[dict[str, Any]]
    git: NotRequired[dict[str, Any]]
    load_average_before: NotRequired[list[float]]
    load_average_after: NotRequired[list[float]]
    foreign_cpu_share: NotRequired[float | None]
    # How long the run waited for other programs before its trials, in all; absent where it did not.
    waited_s: NotRequired[float]
    foreign_device_load: NotRequired[dict[str, Any] | None]
