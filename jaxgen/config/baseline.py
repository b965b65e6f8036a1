"""The baseline's configuration: the candidate's, with whole groups and single keys replaced."""

import copy
import functools

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jaxgen.config import explain
from jaxgen.config.table import GROUPS, conf_dir
from jaxgen.config.typed import quoted
from jaxgen.errors import UserError
from jaxgen.specs.baseline import REPLACEABLE, Baseline
from jaxgen.specs.experiment import SHARED_SLOTS
from jaxgen.specs.run import ARM_SLOTS


def changed_config(
    cfg: DictConfig, baseline: Baseline, *, config_name: str, searchpath: list[str]
) -> tuple[DictConfig, dict[str, str]]:
    """Return the candidate's configuration with the baseline's changes.

    Args:
        cfg: the candidate's.
        baseline: the changes.
        config_name: what Hydra composed, to compose single options the same way.
        searchpath: overrides that add folders of YAML files.

    Returns:
        The configuration, and the options of the groups that were replaced.

    Raises:
        UserError: a change is not possible.
    """
    items = [_parse_override(override) for override in baseline.overrides]
    # Whole groups first, so that single keys change what the new option has.
    by_override = {}
    for item in items:
        if item.key_or_group in GROUPS:
            by_override[item.key_or_group] = str(item.value())
    by_key = {}
    for group in REPLACEABLE:
        option = getattr(baseline, group)
        if option:
            by_key[group] = option
    # Said twice, the override counts: it is the more explicit one.
    replaced = by_key | by_override
    # A copy: the candidate's own is read again when the arms are put together.
    changed = copy.deepcopy(cfg)
    if replaced:
        prefixes = {}
        for group in replaced:
            prefixes[group] = "baseline.overrides: " if group in by_override else "baseline."
        fresh = _compose_alone(config_name, replaced, searchpath=searchpath, prefixes=prefixes)
        for group in replaced:
            changed[group] = fresh[group]
        if "cache" in replaced:
            # The window decides what a token sees, whatever cache stores it: with another window
            # the arms would compute two models.
            changed.cache.window = cfg.cache.window
    for item in items:
        if item.key_or_group not in GROUPS:
            _set(changed, item)
    return changed, replaced


def _compose_alone(
    config_name: str, options: dict[str, str], *, searchpath: list[str], prefixes: dict[str, str]
) -> DictConfig:
    """Compose the options as if nothing else had been said; the result must not be changed."""
    overrides = []
    for group, option in options.items():
        overrides.append(f"{group}={option}")
    try:
        if _searches_own_files_alone(searchpath):
            return _composed_before(config_name, tuple(overrides), written_ns=_own_files())
        return compose(config_name, overrides=[*searchpath, *overrides])
    except explain.CAUGHT as error:
        message = str(explain.user_error(error, overrides))
        group, _, _ = message.partition("=")
        # The user has typed the group's name behind one of two prefixes, and looks for that.
        prefix = prefixes.get(group, "in the baseline: ")
        raise UserError(prefix + message) from error


def _searches_own_files_alone(searchpath: list[str]) -> bool:
    """Whether no folder of the user's is searched, which may change at any time."""
    if searchpath:
        return False
    loader = GlobalHydra.instance().config_loader()
    providers = {element.provider for element in loader.get_search_path().get_path()}
    return providers <= {"hydra", "main", "schema"}


def _own_files() -> tuple[int, ...]:
    """Return when each of jaxgen's own YAML files was written, in nanoseconds."""
    paths = sorted(conf_dir().rglob("*.yaml"))
    return tuple(path.stat().st_mtime_ns for path in paths)


@functools.lru_cache(maxsize=64)  # the points of a sweep have few baselines, and often one
def _composed_before(
    config_name: str, overrides: tuple[str, ...], *, written_ns: tuple[int, ...]
) -> DictConfig:
    """Compose overrides of jaxgen's own files once, until one of them is written again.

    Args:
        config_name: what is composed.
        overrides: of the options.
        written_ns: when the files were written: another time, another result.
    """
    del written_ns  # part of the key alone
    return compose(config_name, overrides=list(overrides))


def _parse_override(typed: str) -> Override:
    """Read one of `baseline.overrides`; refuse what cannot be set for the baseline alone."""
    try:
        item = OverridesParser.create().parse_overrides([quoted(typed)])[0]
    except HydraException as error:
        raise UserError(f"baseline.overrides: {explain.user_error(error, [typed])}") from error
    problem = _problem_of(item)
    if problem is not None:
        raise UserError(
            f"baseline.overrides: {typed} cannot be set for the baseline alone: {problem}"
        )
    return item


def _problem_of(item: Override) -> str | None:
    slot = item.key_or_group.split(".")[0]
    if slot in SHARED_SLOTS:
        shared = ", ".join(SHARED_SLOTS)
        return f"{shared} are the same for both arms; say it outside baseline.overrides"
    is_change = item.is_add() or item.is_force_add() or item.is_delete()
    if is_change or item.package is not None:
        return "only key=value and group=option are allowed here"
    if item.is_sweep_override():
        lists = "\"baseline.overrides=['K=1'],['K=2']\""
        return f"one value only; to sweep it, give whole lists: -m {lists}"
    if slot not in ARM_SLOTS:
        own = ", ".join(ARM_SLOTS)
        return f"there is no {slot} to change; there are {own}"
    return None


def _set(cfg: DictConfig, item: Override) -> None:
    try:
        OmegaConf.update(cfg, item.key_or_group, item.value(), merge=True)
    except OmegaConfBaseException as error:
        message = explain.user_error(error, [str(item.input_line)])
        raise UserError(f"baseline.overrides: {message}") from error
