"""The spec classes as Hydra's schemas: they check every key and type of a YAML file and of the
command line.

OmegaConf makes frozen dataclasses read-only and knows fewer types than Python does. So each spec
has a twin here, derived from its fields: the same name, keys, types and defaults, but not frozen
and without `__post_init__`.
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
from jaxgen.specs.gate import Regression
from jaxgen.specs.prompts import Text
from jaxgen.specs.run import Process
from jaxgen.specs.score import Score

_AS_TYPED: dict[tuple[type, str], Any] = {
    (Process, "env"): dict[str, str],
    (Regression, "against"): Any,
    (Score, "query"): Any,
    (Score, "items"): Any,
    (Text, "text"): Any,
}
"""Types of what the user writes, where OmegaConf cannot express what the spec makes of it."""


@functools.cache  # one twin per spec, wherever it stands
def _twin(spec: type) -> type:
    hints = typing.get_type_hints(spec)
    fields = []
    for field in dataclasses.fields(spec):
        twin_hint = _twin_hint(hints[field.name])
        hint = _AS_TYPED.get((spec, field.name), twin_hint)
        default = _default(spec, field)
        fields.append((field.name, hint, default))
    return _make_twin(spec, fields)


def _make_twin(spec: type, fields: Sequence[tuple[str, Any, Any]]) -> type:
    """Make a spec's twin, which can be found by its name in this module.

    A launcher pickles a node that is made of it, and its process has to find the same class.
    """
    name = f"{spec.__name__}Twin"
    twin = dataclasses.make_dataclass(spec.__name__, fields)
    twin.__module__ = __name__
    twin.__qualname__ = name
    globals()[name] = twin
    return twin


def _twin_hint(hint: Any) -> Any:
    """Return the annotation with a twin in place of a spec."""
    kind = without_none(hint)
    if not dataclasses.is_dataclass(kind):
        return hint
    twin = _twin(typing.cast(type, kind))
    if kind is hint:
        return twin
    return twin | None


def _default(spec: type, field: dataclasses.Field) -> Any:
    typed_hint = _AS_TYPED.get((spec, field.name))
    # The spec keeps pairs in a tuple, which would be no default of a mapping.
    if typing.get_origin(typed_hint) is dict:
        return dataclasses.field(default_factory=dict)
    if field.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=field.default_factory)
    if field.default is dataclasses.MISSING:
        return MISSING
    if dataclasses.is_dataclass(field.default):
        return _twin_of_default(field.default)
    return field.default


def _twin_of_default(default: Any) -> Any:
    """Return a field whose default is the twin of a spec."""
    twin = _twin(type(default))
    values = {}
    for field in dataclasses.fields(default):
        values[field.name] = getattr(default, field.name)
    # A twin is not frozen, so each node needs one of its own.
    return dataclasses.field(default_factory=lambda: twin(**values))


_OFFERED = (*(spec for _, _, spec in OPTIONS), *PLAIN_SLOTS.values())

TWINS: dict[type, type] = {spec: _twin(spec) for spec in _OFFERED}
"""The twin of each spec that stands in a slot."""

SPECS: dict[type, type] = {twin: spec for spec, twin in TWINS.items()}
"""The way back: the spec that a composed node is made into."""

_PLAIN = {slot: TWINS[spec] for slot, spec in PLAIN_SLOTS.items()}

_ROOT_FILE = "run.yaml"
"""How the store calls the schema of a whole configuration."""

_ROOT = _make_twin(Experiment, [(slot, _PLAIN.get(slot, Any), MISSING) for slot in SLOTS])


def _root() -> DictConfig:
    """Return the schema of a whole configuration, one node for each slot."""
    root = OmegaConf.structured(_ROOT)
    # Slots with options get their schemas from the options' files.
    for slot, twin in _PLAIN.items():
        root[slot] = OmegaConf.structured(twin)
    # Any environment variable may be set, without a plus in front of its key.
    OmegaConf.set_struct(root.process.env, False)
    return root


def register() -> None:
    """Put every schema into Hydra's ConfigStore, under `schema/`.

    Doing so again changes nothing.
    """
    store = ConfigStore.instance()
    # Each composition asks for this, and making the nodes takes a third as long as composing.
    if _ROOT_FILE in store.repo.get("schema", {}):
        return
    # Several options may have one spec: its schema is stored once.
    for group, spec in dict.fromkeys((group, spec) for group, _, spec in OPTIONS):
        store.store(
            group=f"schema/{group}",
            name=schema_name(spec),
            node=TWINS[spec],
            provider="jaxgen",
        )
    # Last, as its being there says that all are.
    store.store(group="schema", name="run", node=_root(), provider="jaxgen")
