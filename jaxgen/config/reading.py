"""A composed configuration is read into specs, and checked for keys that Hydra let pass."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jaxgen.config.explain import user_error
from jaxgen.config.schema import SPECS
from jaxgen.config.table import schema_name
from jaxgen.config.typed import find
from jaxgen.config.wording import unknown_key
from jaxgen.errors import UserError
from jaxgen.specs.arm import Arm
from jaxgen.specs.codec import KIND, slot_from_plain
from jaxgen.specs.experiment import SHARED_SLOTS, SLOTS
from jaxgen.specs.run import ARM_SLOTS, Run


def read_arm(name: str, cfg: DictConfig, *, choices: dict[str, str], typed: Sequence[str]) -> Arm:
    """Read the arm that a composed configuration describes.

    Args:
        name: candidate or baseline.
        cfg: one node per slot, nothing else.
        choices: the option of each group.
        typed: the overrides that led to it, for the messages.

    Returns:
        The arm; its run is validated.

    Raises:
        UserError: a key that no spec has, a value that is missing or impossible.
    """
    # Before anything is resolved, so that a typo is named and not what follows from it.
    _refuse_strays(cfg, typed=typed)
    try:
        container = OmegaConf.to_container(
            cfg, resolve=True, throw_on_missing=True, enum_to_str=True
        )
    except OmegaConfBaseException as error:
        raise user_error(error, typed) from error
    assert isinstance(container, dict)
    resolved = {}
    for slot, value in container.items():
        resolved[str(slot)] = value
    run = Run(**_read_slots(cfg, resolved, ARM_SLOTS))
    return Arm(name=name, run=run, choices=choices, resolved=resolved)


def read_shared(cfg: DictConfig, candidate: Arm) -> dict[str, Any]:
    """Read the specs that both arms share, by slot, from the candidate's configuration.

    Raises:
        UserError: a value is impossible.
    """
    return _read_slots(cfg, candidate.resolved, SHARED_SLOTS)


def _read_slots(cfg: DictConfig, resolved: dict[str, Any], slots: Iterable[str]) -> dict[str, Any]:
    specs = {}
    for slot in slots:
        kind = _spec_of(slot, cfg[slot])
        # A composed node does not say of which class it is, and the codec asks for that.
        values = {KIND: kind.__name__, **resolved[slot]}
        specs[slot] = slot_from_plain(slot, values, SLOTS[slot])
    return specs


def _spec_of(slot: str, node: Any) -> type:
    """Return the spec that a slot's node was checked against."""
    # A file of the user's own may have left out the line that names its schema.
    spec = SPECS.get(OmegaConf.get_type(node) or type(None))
    if spec not in SLOTS[slot]:
        names = [f"/schema/{slot}/{schema_name(kind)}@_here_" for kind in SLOTS[slot]]
        schemas = ", ".join(names)
        raise UserError(
            f"{slot} was composed without a schema, or with another slot's; "
            f"let the defaults of its YAML file begin with one of {schemas}"
        )
    return spec


def _refuse_strays(node: DictConfig, *, typed: Sequence[str], path: str = "") -> None:
    """Refuse keys that no spec has: Hydra takes `+key=value` whatever the schema says."""
    kind = OmegaConf.get_type(node)
    if not dataclasses.is_dataclass(kind):
        return  # a plain dictionary, such as `process.env`, takes any key
    fields = {field.name for field in dataclasses.fields(kind)}
    for key in node:
        full_key = f"{path}{key}"
        if key not in fields:
            raise UserError(unknown_key(full_key, kind, typed=find(full_key, typed)))
        # A missing value or an interpolation raises when it is read; neither has keys of its own.
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            continue
        child = node[key]
        if isinstance(child, DictConfig):
            _refuse_strays(child, typed=typed, path=f"{full_key}.")
