"""Overrides as the user typed them: taken apart, found again for a message, and quoted."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import OverrideParseException

_FREE_TEXTS = ("gate.against", "gate.commit", "process.source")
"""Keys whose values may have signs that mean something else to Hydra: paths and revisions."""


def split(override: str) -> tuple[str, str | None]:
    """Return the key and the value of an override; no value if it has no equals sign.

    Example:
        >>> split("+cache.max_len=3")
        ('cache.max_len', '3')
    """
    key, equals, value = override.partition("=")
    # A plus or a tilde in front is about the key, and no part of it.
    key = key.strip().lstrip("+~")
    if not equals:
        return key, None
    return key, value.strip()


def quoted(override: str) -> str:
    """Put the value of an override in quotes, if only that makes it readable.

    Hydra's grammar refuses a bare value with an equals sign, which every XLA flag has, and many a
    sum; and the signs of `HEAD~1` and of a pattern. What could be read before is not read
    differently, but for a commit: to the grammar 0123456 is a number.

    Example:
        >>> quoted("process.xla_flags=--xla_dump_to=dump")
        'process.xla_flags="--xla_dump_to=dump"'
    """
    key, _, value = override.partition("=")
    # A list or a dictionary has quotes of its own, around its items.
    if not value.strip() or value.lstrip()[0] in "'\"[{":
        return override
    if "=" not in value and key not in _FREE_TEXTS:
        return override
    if key == "gate.commit" and "," not in value and value != "null":
        return _in_quotes(key, value)
    # Only the grammar itself knows what it can read.
    try:
        OverridesParser.create().parse_overrides([override])
    except OverrideParseException:
        return _in_quotes(key, value)
    return override


def _in_quotes(key: str, value: str) -> str:
    text = QuotedString(text=value, quote=Quote.double).with_quotes()
    return f"{key}={text}"


def find(key: str, overrides: Sequence[str]) -> str | None:
    """Return the override behind a key: the last for the key itself, or else the nearest.

    Args:
        key: dotted, as OmegaConf names it.
        overrides: as typed.

    Returns:
        The override; one for a key below it, or one for a key above it, where none is for the key
        itself; null where there is none at all.

    Example:
        >>> find("cache.max_len", ["cache=fixed", "cache.max_len=3", "jit=aot"])
        'cache.max_len=3'
    """
    # From the surest guess to the least sure: the key itself, one below it, one above it.
    nearness = (
        lambda typed: typed == key,
        lambda typed: typed.startswith(f"{key}."),
        lambda typed: key.startswith(f"{typed}."),
    )
    for is_near in nearness:
        # The last override of a key is the one that counts.
        for override in reversed(overrides):
            typed, _ = split(override)
            if is_near(typed):
                return override
    return None
