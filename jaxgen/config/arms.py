"""A composed configuration becomes the arms of a run: the candidate as composed, the baseline as a change to it."""

import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from jaxgen.config import explain
from jaxgen.config.reading import read_arm
from jaxgen.config.schema import register
from jaxgen.config.table import GROUPS, conf_dir
from jaxgen.config.typed import find, quoted, split
from jaxgen.errors import UserError
from jaxgen.specs.arm import Arm
from jaxgen.specs.run import REPLACEABLE, SLOTS, Baseline

SHARED = ("measure", "baseline", "gate", "tracker", "study", "sweep", "console")
"""Slots that both arms have in common: there is one measurement, and one place to report it."""


def compose_arms(cfg: DictConfig) -> dict[str, Arm]:
    """The arms of the job that Hydra is running; to be called inside `hydra.main`'s task.

    The baseline is the candidate with whole groups replaced: each as if its option had been composed alone, so that
    nothing said about the candidate's option, on the command line or in an experiment, leaks into the baseline's.
    Then come `baseline.overrides`.

    Args:
        cfg: the task's configuration.

    Returns:
        `candidate` first, and `baseline` unless `baseline=off`.

    Raises:
        UserError: a key, a value or an option is not what it may be; in either arm.
    """
    return _arms(cfg, HydraConfig.get())


def load_arms(overrides: Iterable[str]) -> dict[str, Arm]:
    """The arms of a command line's overrides, without running Hydra's application: for the Python API.

    Args:
        overrides: as on the command line, such as `cache=fixed`.

    Returns:
        As `compose_arms`.

    Raises:
        UserError: as `compose_arms`.
    """
    with _composition(overrides) as (cfg, job):
        return _arms(cfg, job)


def load_candidate(overrides: Iterable[str]) -> Arm:
    """The same of the candidate alone, where nothing is to be compared: the baseline may be impossible.

    Raises:
        UserError: a key, a value or an option of the candidate is not what it may be.
    """
    with _composition(overrides) as (cfg, job):
        return _candidate(cfg, job)


@contextlib.contextmanager
def _composition(overrides: Iterable[str]) -> Iterator[tuple[DictConfig, Any]]:
    """What Hydra makes of overrides, its own part apart; while it lasts, more can be composed."""
    typed = [quoted(override) for override in overrides]
    register()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        try:
            cfg = compose("config", overrides=typed, return_hydra_config=True)
        except explain.CAUGHT as error:
            raise explain.user_error(error, typed) from error
        job = cfg.hydra
        with open_dict(cfg):
            del cfg["hydra"]
        yield cfg, job


def _candidate(cfg: DictConfig, job: Any) -> Arm:
    made = job.runtime.choices
    choices = {group: str(made[group]) for group in (*GROUPS, "experiment") if made.get(group)}
    return read_arm("candidate", cfg, choices=choices, typed=list(job.overrides.task))


def _arms(cfg: DictConfig, job: Any) -> dict[str, Arm]:
    candidate = _candidate(cfg, job)
    baseline = candidate.run.baseline
    if not baseline.enabled:
        _refuse_changes(baseline, typed=list(job.overrides.task))
        return {"candidate": candidate}
    searchpath = [
        override for override in job.overrides.hydra if override.startswith("hydra.searchpath=")
    ]
    changed, replaced = _changed(
        cfg, baseline, config_name=job.job.config_name, searchpath=searchpath
    )
    try:
        arm = read_arm(
            "baseline",
            changed,
            choices=candidate.choices | replaced,
            typed=list(baseline.overrides),
        )
    except UserError as error:
        own = "set the baseline's own values with \"baseline.overrides=['KEY=VALUE']\""
        raise UserError(f"in the baseline: {error}; {own}") from error
    return {"candidate": candidate, "baseline": arm}


def _refuse_changes(baseline: Baseline, *, typed: Sequence[str]) -> None:
    """Typed, `baseline=off` wins over what an experiment says of the baseline, and over nothing that is typed too."""
    for key in (*REPLACEABLE, "overrides"):
        name, value = split(find(f"baseline.{key}", typed) or "")
        off = name == "baseline" and str(value).strip("'\"") == "off"
        if getattr(baseline, key) and not off:
            raise UserError(
                f"baseline=off measures no baseline, so baseline.{key} has nothing to change; "
                "choose baseline=same or leave it out"
            )


def _changed(
    cfg: DictConfig, baseline: Baseline, *, config_name: str, searchpath: list[str]
) -> tuple[DictConfig, dict[str, str]]:
    """The candidate's configuration with the baseline's changes, and the options of the replaced groups."""
    items = [_parsed(override) for override in baseline.overrides]
    by_key = {group: getattr(baseline, group) for group in REPLACEABLE if getattr(baseline, group)}
    by_override = {
        item.key_or_group: str(item.value()) for item in items if item.key_or_group in GROUPS
    }
    replaced = by_key | by_override
    changed = copy.deepcopy(cfg)
    if replaced:
        fresh = _composed(
            config_name,
            replaced,
            searchpath=searchpath,
            prefixes={
                group: "baseline.overrides: " if group in by_override else "baseline."
                for group in replaced
            },
        )
        for group in replaced:
            changed[group] = fresh[group]
        if (
            "cache" in replaced
        ):  # what a token sees is no matter of how it is kept: else the arms compute two models
            changed.cache.window = cfg.cache.window
    for item in items:
        if item.key_or_group not in GROUPS:
            _set(changed, item)
    return changed, replaced


def _composed(
    config_name: str, options: dict[str, str], *, searchpath: list[str], prefixes: dict[str, str]
) -> DictConfig:
    """The options composed alone, as if nothing else had been said."""
    overrides = [f"{group}={option}" for group, option in options.items()]
    try:
        return compose(config_name, overrides=[*searchpath, *overrides])
    except explain.CAUGHT as error:
        message = str(explain.user_error(error, overrides))
        raise UserError(
            prefixes.get(message.partition("=")[0], "in the baseline: ") + message
        ) from error


def _parsed(typed: str) -> Override:
    try:
        item = OverridesParser.create().parse_overrides([quoted(typed)])[0]
    except HydraException as error:
        raise UserError(f"baseline.overrides: {explain.user_error(error, [typed])}") from error
    slot = item.key_or_group.split(".")[0]
    if slot in SHARED:
        problem = (
            f"{', '.join(SHARED)} are the same for both arms; say it outside baseline.overrides"
        )
    elif item.is_add() or item.is_force_add() or item.is_delete() or item.package is not None:
        problem = "only key=value and group=option are allowed here"
    elif item.is_sweep_override():
        problem = "one value only; to sweep it, give whole lists: -m \"baseline.overrides=['K=1'],['K=2']\""
    elif slot not in SLOTS:
        problem = f"there is no {slot} to change; there are {', '.join(slot for slot in SLOTS if slot not in SHARED)}"
    else:
        return item
    raise UserError(f"baseline.overrides: {typed} cannot be set for the baseline alone: {problem}")


def _set(cfg: DictConfig, item: Override) -> None:
    try:
        OmegaConf.update(cfg, item.key_or_group, item.value(), merge=True)
    except OmegaConfBaseException as error:
        raise UserError(
            f"baseline.overrides: {explain.user_error(error, [str(item.input_line)])}"
        ) from error
