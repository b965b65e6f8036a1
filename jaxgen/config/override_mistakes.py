"""Mistakes in an override by itself, whatever the configuration: one line each, with a remedy."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from jaxgen.config.table import GROUPS
from jaxgen.config.typed import split
from jaxgen.config.wording import in_one_line, listed, unknown_option

_KEY = re.compile(r"[\w@/-]+(\.[\w-]+)*")


def override_mistake(typed: Sequence[str], *, sweep: bool) -> str | None:
    """Say what is wrong with an override by itself, whatever the configuration.

    Args:
        typed: the overrides, as typed.
        sweep: several values for a key are allowed (`-m`).

    Returns:
        One line on the first mistake; null where there is none.
    """
    for override in typed:
        try:
            parsed = OverridesParser.create().parse_overrides([override])[0]
        except OverrideParseException as error:
            return _unreadable(override, error)
        problem = _misused(parsed, override, sweep=sweep)
        if problem is not None:
            return problem
    return None


def _misused(parsed: Override, override: str, *, sweep: bool) -> str | None:
    """Say what is wrong with an override that can be read."""
    key, value = split(override)
    if not key:
        return f"{override} has no key: write KEY=VALUE"
    if parsed.is_delete():
        return (
            f"{override}: nothing can be taken out of a run; set a value instead, as in {key}=..."
        )
    if parsed.is_sweep_override():
        if sweep:
            return None
        # Quotes in quotes: the shell takes the outer ones away, Hydra the inner ones.
        one = f"{key}=\"'{value}'\""
        return f"{override} has several values: add -m to run them all, or quote it as one: {one}"
    if key in GROUPS:
        return _misused_group(parsed, override)
    return None


def _misused_group(parsed: Override, override: str) -> str | None:
    """Say what is wrong with an override that chooses an option of a group."""
    group, value = split(override)
    if parsed.is_add() or parsed.is_force_add():
        return f"{override} would add a second {group}: write {group}={value}, without the plus"
    if isinstance(parsed.value(), list):
        several = (value or "")[1:-1]
        return (
            f"{override}: {group} takes one of {listed(GROUPS[group])}; "
            f"to run several, -m {group}={several}"
        )
    # A dictionary sets several keys of the group at once, and chooses no option.
    if isinstance(parsed.value(), str | dict):
        return None
    return unknown_option(group, value or "", GROUPS[group])


def _unreadable(override: str, error: OverrideParseException) -> str:
    """Say what is wrong with an override that Hydra's grammar refuses."""
    key, value = split(override)
    # The mistakes in the order in which they are common, each with its own remedy.
    if value is None:
        allowed = f"one of {listed(GROUPS[key])}" if key in GROUPS else "a value"
        return f"{override} is not an override: write {key}=... with {allowed}"
    if not _KEY.fullmatch(key):
        return (
            f"{override} cannot be read: {key} is no key; write KEY=VALUE, as in cache.max_len=256"
        )
    if value.startswith("[") and "=" in value:
        return f"{override} cannot be read: {_quote_items(key, value)}"
    reason = in_one_line(error).removeprefix(f"Error parsing override '{override}' ")
    if reason.startswith("LexerNoViableAltException"):
        reason = "a quote that is not closed, or a sign that has to be quoted"
    return f"{override} cannot be read ({reason}); quote the value twice, as in \"{key}='...'\""


def _quote_items(key: str, value: str) -> str:
    """Say how a list is written whose items have equals signs."""
    inside = value.strip("[]")
    items = ",".join(f"'{item.strip()}'" for item in inside.split(","))
    # `baseline=[jit=partial]` is tried by those who know that the baseline has overrides.
    if key == "baseline":
        return f'write baseline.{inside}, or "baseline.overrides=[{items}]"'
    return f'put quotes around each item, "{key}=[{items}]"'
