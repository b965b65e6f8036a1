"""A composed configuration is read into an arm: checked for keys that Hydra let pass, and made into specs."""

import dataclasses
from collections.abc import Sequence
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
from jaxgen.specs.codec import KIND, spec_from_plain
from jaxgen.specs.run import SLOTS


def read_arm(name: str, cfg: DictConfig, *, choices: dict[str, str], typed: Sequence[str]) -> Arm:
    """The arm that a composed configuration describes.

    Args:
        name: candidate or baseline.
        cfg: one node per slot, nothing else.
        choices: the option of each group.
        typed: the overrides that led to it, for the messages.

    Returns:
        The arm, its run validated.

    Raises:
        UserError: a key that no spec has, a value that is missing or impossible.
    """
    _refuse_strays(cfg, typed=typed)
    try:
        resolved = OmegaConf.to_container(
            cfg, resolve=True, throw_on_missing=True, enum_to_str=True
        )
    except OmegaConfBaseException as error:
        raise user_error(error, typed) from error
    assert isinstance(resolved, dict)
    kinds = {slot: {KIND: _spec_of(slot, cfg[slot]).__name__} for slot in SLOTS}
    run = spec_from_plain({slot: kinds[slot] | resolved[slot] for slot in SLOTS})
    return Arm(
        name=name,
        run=run,
        choices=choices,
        resolved={str(slot): value for slot, value in resolved.items()},
    )


def _spec_of(slot: str, node: Any) -> type:
    """The spec that a slot's node was checked against."""
    spec = SPECS.get(OmegaConf.get_type(node) or type(None))
    if spec not in SLOTS[slot]:
        schemas = ", ".join(f"/schema/{slot}/{schema_name(kind)}@_here_" for kind in SLOTS[slot])
        raise UserError(
            f"{slot} was composed without a schema, or with another slot's; "
            f"let the defaults of its YAML file begin with one of {schemas}"
        )
    return spec


def _refuse_strays(node: DictConfig, *, typed: Sequence[str], path: str = "") -> None:
    """Hydra takes `+key=value` without a word, whatever the schema says."""
    kind = OmegaConf.get_type(node)
    if not dataclasses.is_dataclass(kind):
        return
    known = {field.name for field in dataclasses.fields(kind)}
    for key in node:
        full_key = f"{path}{key}"
        if key not in known:
            raise UserError(unknown_key(full_key, kind, typed=find(full_key, typed)))
        child = (
            None
            if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key)
            else node[key]
        )
        if isinstance(child, DictConfig):
            _refuse_strays(child, typed=typed, path=f"{full_key}.")
