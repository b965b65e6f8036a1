"""The spec classes as Hydra's schemas: what checks every key and every type of a YAML file and of the command line.

OmegaConf makes frozen dataclasses read-only and knows fewer types than Python does. So each spec has a twin here,
derived from its fields: the same name, keys, types and defaults, but not frozen and without `__post_init__`.
"""

import dataclasses
import functools
import typing
from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from jaxgen.config.table import OPTIONS, PLAIN_SLOTS, schema_name
from jaxgen.specs.codec import without_none
from jaxgen.specs.experiment import SLOTS, Experiment
from jaxgen.specs.prompts import Text
from jaxgen.specs.run import Process
from jaxgen.specs.score import Score

_AS_TYPED: dict[tuple[type, str], Any] = {
    (Process, "env"): dict[str, str],
    (Score, "query"): Any,
    (Score, "items"): Any,
    (Text, "text"): Any,
}
"""Types of what the user writes, where the spec normalises it to something that OmegaConf cannot express."""


@functools.cache  # one twin per spec, wherever it stands
def _twin(spec: type) -> type:
    hints = typing.get_type_hints(spec)
    fields = [
        (
            field.name,
            _AS_TYPED.get((spec, field.name), _twin_hint(hints[field.name])),
            _default(spec, field),
        )
        for field in dataclasses.fields(spec)
    ]
    return _made(spec, fields)


def _made(spec: type, fields: Sequence[tuple[str, Any, Any]]) -> type:
    """A spec's twin, found by its name: so it is the same class in a launcher's process, sent a node made of it."""
    twin = dataclasses.make_dataclass(spec.__name__, fields)
    twin.__module__, twin.__qualname__ = __name__, f"{spec.__name__}Twin"
    globals()[twin.__qualname__] = twin
    return twin


def _twin_hint(hint: Any) -> Any:
    kind = without_none(hint)
    if not dataclasses.is_dataclass(kind):
        return hint
    twin = _twin(typing.cast(type, kind))
    return twin if kind is hint else twin | None


def _default(spec: type, field: dataclasses.Field) -> Any:
    if typing.get_origin(_AS_TYPED.get((spec, field.name))) is dict:
        return dataclasses.field(default_factory=dict)
    if field.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=field.default_factory)
    if field.default is dataclasses.MISSING:
        return MISSING
    if dataclasses.is_dataclass(field.default):
        values = {
            each.name: getattr(field.default, each.name)
            for each in dataclasses.fields(field.default)
        }
        twin = _twin(type(field.default))
        return dataclasses.field(default_factory=lambda: twin(**values))
    return field.default


TWINS: dict[type, type] = {
    spec: _twin(spec) for spec in (*(spec for _, _, spec in OPTIONS), *PLAIN_SLOTS.values())
}
"""The twin of each spec that stands in a slot."""

SPECS: dict[type, type] = {twin: spec for spec, twin in TWINS.items()}
"""The way back: the spec that a composed node is made into."""


_PLAIN = {slot: TWINS[spec] for slot, spec in PLAIN_SLOTS.items()}

_ROOT = _made(Experiment, [(slot, _PLAIN.get(slot, Any), MISSING) for slot in SLOTS])


def _root() -> DictConfig:
    root = OmegaConf.structured(_ROOT)
    for slot, twin in _PLAIN.items():
        root[slot] = OmegaConf.structured(twin)
    OmegaConf.set_struct(root.process.env, False)  # any name may be added, without a plus
    return root


def register() -> None:
    """Puts every schema into Hydra's ConfigStore, under `schema/`; doing so again changes nothing."""
    store = ConfigStore.instance()
    store.store(group="schema", name="run", node=_root(), provider="jaxgen")
    for group, _, spec in OPTIONS:
        store.store(
            group=f"schema/{group}", name=schema_name(spec), node=TWINS[spec], provider="jaxgen"
        )
