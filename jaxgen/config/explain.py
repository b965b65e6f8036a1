"""What Hydra and OmegaConf raise, as one line for the user.

The line has the key as typed, the value, what is allowed and what to try.
"""

import dataclasses
import re
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from jaxgen.config.override_mistakes import override_mistake
from jaxgen.config.table import GROUPS
from jaxgen.config.typed import find, split
from jaxgen.config.wording import expected, in_one_line, listed, unknown_key, unknown_option
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

_LAUNCHERS = {
    "submitit": ("hydra-submitit-launcher", "slurm"),
    "ray": ("hydra-ray-launcher", "ray"),
}
"""How the names of launchers begin; the package that has them, and jaxgen's extra with it."""

_IN_FILE = re.compile(r"In '(.+?)': \w+ raised while composing")


def user_error(error: Exception, typed: Sequence[str], *, sweep: bool = False) -> UserError:
    """Return the error for the user that stands behind an error of Hydra or OmegaConf.

    Args:
        error: what was raised.
        typed: the overrides that were given, as typed.
        sweep: several values for a key are allowed (`-m`).

    Returns:
        An error whose message is one line.

    Raises:
        AttributeError, AssertionError: it is a program's error, and nothing typed explains it.
    """
    # A mistake in an override explains more than what Hydra made of it.
    message = override_mistake(typed, sweep=sweep)
    message = message or _problem_of_option(error) or _problem_of_value(error, typed)
    # OmegaConf fails with these two, and so does a bug of ours: only a known cause is the user's.
    if message is None and isinstance(error, AttributeError | AssertionError):
        message = _problem_of_null(typed)
        if message is None:
            raise error
    return UserError(message or in_one_line(error))


def of_launcher(error: Exception) -> UserError:
    """Return the error for the user of what a launcher of Hydra's raised.

    Its own message is many lines, with a traceback in it: the first and the last are kept.
    """
    lines = []
    for line in str(error).splitlines():
        if line.strip():
            lines.append(line.strip())
    if not lines:
        lines = [type(error).__name__]
    short = lines[0]
    if len(lines) > 1:
        short += f" ... {lines[-1]}"
    return UserError(
        f"the launcher ended the sweep ({short}); "
        "what its jobs printed may lie in the sweep's .submitit"
    )


def _problem_of_option(error: Exception) -> str | None:
    """Say that there is no such option of a group."""
    if not isinstance(error, MissingConfigException) or "/" not in (error.missing_cfg_file or ""):
        return None
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if group == "hydra/launcher":
        # Hydra would list the launchers that are installed, and not say how to get this one.
        for start, (package, extra) in _LAUNCHERS.items():
            if name.startswith(start):
                return (
                    f"hydra/launcher: {name} comes with {package}, which is not installed; "
                    f"pip install 'jaxgen[{extra}]'"
                )
    return unknown_option(group, name, error.options or ())


def _problem_of_value(error: Exception, typed: Sequence[str]) -> str | None:
    """Say which key or value OmegaConf refused; it may stand in a file."""
    # Hydra wraps what OmegaConf raises while it reads a file.
    cause: BaseException | None = error
    if not isinstance(error, OmegaConfBaseException):
        cause = error.__cause__ or error.__context__
    if not isinstance(cause, OmegaConfBaseException) or not cause.full_key:
        return None
    key = cause.full_key
    if isinstance(cause, InterpolationResolutionError):
        first_line, *_ = str(cause).splitlines()
        for override in typed:
            if "${" in override:
                return f"{override}: {first_line}"
        return f"{key}: {first_line}"
    if isinstance(cause, MissingMandatoryValue):
        if key in GROUPS:
            return f"{key} is missing; choose one of {listed(GROUPS[key])}"
        return f"{key} is missing; set {key}=..."
    return _refusal(error, cause, key, typed)


def _refusal(
    error: Exception, cause: OmegaConfBaseException, key: str, typed: Sequence[str]
) -> str | None:
    """Say that a key or its value does not fit its spec, and where it stands."""
    override = find(key, typed)
    in_file = _IN_FILE.match(str(error))
    file = f"{in_file[1]}.yaml" if in_file else None
    source = file or override
    if key == "experiment":
        # It is a group only where there are files of experiments; else OmegaConf knows no such key.
        _, name = split(source or "")
        return unknown_option(key, name or "", ())
    kind = cause.object_type
    if kind is None or not dataclasses.is_dataclass(kind):
        return None
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return unknown_key(key, kind, typed=source)
    value = "null" if cause.value is None else cause.value
    # An override is shown as it was typed; a value in a file with the key that it is of.
    assignment = f"{key}={value}"
    if file:
        assignment = f"{file}: {assignment}"
    elif override:
        assignment = override
    for field in dataclasses.fields(kind):
        if field.name == cause.key and isinstance(cause, ValidationError):
            return f"{assignment} is impossible: {key} takes {expected(field)}"
    return None


def _problem_of_null(typed: Sequence[str]) -> str | None:
    """Say that a structure which is null cannot get a single key.

    OmegaConf 2.3 fails inside when such a structure gets a key or a dictionary by its dotted name.
    """
    override = find("model.shapes", typed)
    if override is None:
        return None
    return (
        f"{override}: model.shapes is null or incomplete here; give all of it at once, "
        '"model={shapes: {family: qwen3, vocab_size: 1024, ...}}", '
        "or start from a model that has shapes, as tiny has"
    )
