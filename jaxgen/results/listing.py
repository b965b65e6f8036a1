"""How a sentence names many things: the first few, and how many more there are."""

from collections.abc import Sequence


def first_few(names: Sequence[str], *, most: int) -> str:
    """Join at most so many names, and count the others.

    Args:
        names: in the order in which they are named.
        most: how many are named before the rest is counted.

    Example:
        >>> first_few(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    named = ", ".join(names[:most])
    more = len(names) - most
    if more <= 0:
        return named
    return f"{named} and {more} more"
