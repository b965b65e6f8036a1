"""What Hydra and OmegaConf raise, as one line: the key as typed, the value, what is allowed, what to try."""

import dataclasses
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from jaxgen.config.table import GROUPS
from jaxgen.config.typed import find, split
from jaxgen.config.wording import expected, listed, unknown_key, unknown_option
from jaxgen.errors import UserError

CAUGHT = (
    HydraException,
    OmegaConfBaseException,
    YAMLError,
    ValueError,
    UserWarning,
    AttributeError,
    AssertionError,
)
"""What composing may raise when the user asks for something that cannot be."""

_LAUNCHERS = {"submitit": "slurm", "ray": "ray"}
"""How the names of the launchers begin that an extra of jaxgen's brings."""

_KEY = re.compile(r"[\w@/-]+(\.[\w-]+)*")
_IN_FILE = re.compile(r"In '(.+?)': \w+ raised while composing")


def user_error(error: Exception, typed: Sequence[str], *, sweep: bool = False) -> UserError:
    """The error for the user that stands behind an error of Hydra or OmegaConf.

    Args:
        error: what was raised.
        typed: the overrides that were given, as typed.
        sweep: several values for a key are allowed (`-m`).

    Returns:
        An error whose message is one line.

    Raises:
        AttributeError, AssertionError: it is the error of a program, and nothing that was typed explains it.
    """
    message = _of_override(typed, sweep=sweep) or _of_option(error) or _of_value(error, typed)
    if message is None and isinstance(error, AttributeError | AssertionError):
        message = _of_null(typed)
        if message is None:
            raise error
    return UserError(message or _in_short(error))


def of_launcher(error: Exception) -> UserError:
    """The same of what a launcher of Hydra's raised: its own message is many lines, with a traceback in it."""
    told = [line.strip() for line in str(error).splitlines() if line.strip()] or [
        type(error).__name__
    ]
    shown = told[0] if len(told) == 1 else f"{told[0]} ... {told[-1]}"
    return UserError(
        f"the launcher ended the sweep ({shown}); what its jobs printed may lie in the sweep's .submitit"
    )


def _of_override(typed: Sequence[str], *, sweep: bool) -> str | None:
    """What is wrong with an override by itself, whatever the configuration."""
    for override in typed:
        try:
            parsed = OverridesParser.create().parse_overrides([override])[0]
        except OverrideParseException as error:
            return _unreadable(override, error)
        problem = _misused(parsed, override, sweep=sweep)
        if problem:
            return problem
    return None


def _misused(parsed: Override, override: str, *, sweep: bool) -> str | None:
    key, value = split(override)
    if not key:
        return f"{override} has no key: write KEY=VALUE"
    if parsed.is_delete():
        return (
            f"{override}: nothing can be taken out of a run; set a value instead, as in {key}=..."
        )
    if parsed.is_sweep_override():
        one = f"{key}=\"'{value}'\""
        return (
            None
            if sweep
            else f"{override} has several values: add -m to run them all, or quote it as one: {one}"
        )
    if key not in GROUPS:
        return None
    if parsed.is_add() or parsed.is_force_add():
        return f"{override} would add a second {key}: write {key}={value}, without the plus"
    if isinstance(parsed.value(), list):
        return f"{override}: {key} takes one of {listed(GROUPS[key])}; to run several, -m {key}={(value or '')[1:-1]}"
    return (
        None
        if isinstance(parsed.value(), str | dict)
        else unknown_option(key, value or "", GROUPS[key])
    )


def _unreadable(override: str, error: OverrideParseException) -> str:
    key, value = split(override)
    if value is None:
        allowed = f"one of {listed(GROUPS[key])}" if key in GROUPS else "a value"
        return f"{override} is not an override: write {key}=... with {allowed}"
    if not _KEY.fullmatch(key):
        return (
            f"{override} cannot be read: {key} is no key; write KEY=VALUE, as in cache.max_len=256"
        )
    if value.startswith("[") and "=" in value:
        items = ",".join(f"'{item.strip()}'" for item in value.strip("[]").split(","))
        if key == "baseline":
            return f'{override} cannot be read: write baseline.{value.strip("[]")}, or "baseline.overrides=[{items}]"'
        return f'{override} cannot be read: put quotes around each item, "{key}=[{items}]"'
    reason = _in_short(error).removeprefix(f"Error parsing override '{override}' ")
    if reason.startswith("LexerNoViableAltException"):
        reason = "a quote that is not closed, or a sign that has to be quoted"
    return f"{override} cannot be read ({reason}); quote the value twice, as in \"{key}='...'\""


def _of_option(error: Exception) -> str | None:
    if not isinstance(error, MissingConfigException) or "/" not in (error.missing_cfg_file or ""):
        return None
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    extra = next((extra for start, extra in _LAUNCHERS.items() if name.startswith(start)), None)
    if group == "hydra/launcher" and extra is not None:
        package = f"hydra-{'submitit' if extra == 'slurm' else extra}-launcher"
        return f"hydra/launcher: {name} comes with {package}, which is not installed; pip install 'jaxgen[{extra}]'"
    return unknown_option(group, name, error.options or ())


def _of_value(error: Exception, typed: Sequence[str]) -> str | None:
    """A key or a value that OmegaConf refused; it may stand in a file."""
    cause = (
        error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    )
    if not isinstance(cause, OmegaConfBaseException) or not cause.full_key:
        return None
    key = cause.full_key
    if isinstance(cause, InterpolationResolutionError):
        used = next((override for override in typed if "${" in override), key)
        return f"{used}: {str(cause).splitlines()[0]}"
    if isinstance(cause, MissingMandatoryValue):
        return f"{key} is missing; " + (
            f"choose one of {listed(GROUPS[key])}" if key in GROUPS else f"set {key}=..."
        )
    file = _IN_FILE.match(str(error))
    source = f"{file[1]}.yaml" if file else find(key, typed)
    if key == "experiment":  # a group only once there are experiments
        return unknown_option(key, split(source or "")[1] or "", ())
    kind = cause.object_type
    if kind is None or not dataclasses.is_dataclass(kind):
        return None
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return unknown_key(key, kind, typed=source)
    field = next((field for field in dataclasses.fields(kind) if field.name == cause.key), None)
    if not isinstance(cause, ValidationError) or field is None:
        return None
    said = (
        source if source and not file else f"{key}={'null' if cause.value is None else cause.value}"
    )
    return f"{f'{source}: ' if file else ''}{said} is impossible: {key} takes {expected(field)}"


def _of_null(typed: Sequence[str]) -> str | None:
    """OmegaConf 2.3 fails inside when a structure that is null gets a key or a dictionary by its dotted name."""
    override = find("model.shapes", typed)
    if override is None:
        return None
    return (
        f"{override}: model.shapes is null or incomplete here; give all of it at once, "
        '"model={shapes: {family: qwen3, vocab_size: 1024, ...}}", or start from a model that has shapes, as tiny has'
    )


def _in_short(error: BaseException) -> str:
    """The library's own words in one line, without its advice on search paths and web pages."""
    text = re.split(r"\n(?:Config search path|Search path|See https|To append)", str(error))[0]
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        text = f"{text} {str(cause).splitlines()[0]}"
    return " ".join(text.split()) or type(error).__name__
