"""Overrides as the user typed them: taken apart, found again for a message, and quoted where they have to be."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import OverrideParseException


def split(override: str) -> tuple[str, str | None]:
    """The key and the value of an override; no value if it has no equals sign.

    Example:
        >>> split("+cache.max_len=3")
        ('cache.max_len', '3')
    """
    key, equals, value = override.partition("=")
    return key.strip().lstrip("+~"), value.strip() if equals else None


def quoted(override: str) -> str:
    """The override with its value in quotes, if only that makes it readable.

    Hydra's grammar refuses a bare value with an equals sign, which every XLA flag has, and many a sum. Taken as text,
    nothing that could be read before is read differently.

    Example:
        >>> quoted("process.xla_flags=--xla_dump_to=dump")
        'process.xla_flags="--xla_dump_to=dump"'
    """
    key, _, value = override.partition("=")
    if "=" not in value or value.lstrip()[0] in "'\"[{":
        return override
    try:
        OverridesParser.create().parse_overrides([override])
    except OverrideParseException:
        return f"{key}={QuotedString(text=value, quote=Quote.double).with_quotes()}"
    return override


def find(key: str, overrides: Sequence[str]) -> str | None:
    """The override behind a key: the last for the key itself, else for one below it, else for one above it.

    Args:
        key: dotted, as OmegaConf names it.
        overrides: as typed.

    Example:
        >>> find("cache.max_len", ["cache=fixed", "cache.max_len=3", "jit=aot"])
        'cache.max_len=3'
    """
    nearness = (
        lambda typed: typed == key,
        lambda typed: typed.startswith(f"{key}."),
        lambda typed: key.startswith(f"{typed}."),
    )
    for near in nearness:
        for override in reversed(overrides):
            if near(split(override)[0]):
                return override
    return None
