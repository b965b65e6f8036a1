"""A variable of random length in each worker's environment, against the bias of its size.

The environment lies at the beginning of a process's stack and moves all that is behind it. Two arms
whose variables differ in length differ in where their stacks lie, always in the same way, and that
alone made programs faster or slower by some percent: Mytkowicz, Diwan, Hauswirth and Sweeney,
"Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009. With a length drawn for
each process, it is a part of what differs from start to start.
"""

import random
from collections.abc import Iterable

VARIABLE = "JAXGEN_PADDING"
MOST_BYTES = 4096
"""One page: beyond it, addresses repeat in all that decides about speed."""


def lengths(arms: Iterable[str], *, seed: int, process: int) -> dict[str, int]:
    """Draw the length of each arm's padding.

    Args:
        arms: by name.
        seed: of the measurement; the same one draws the same lengths.
        process: the number of the pair of processes.

    Returns:
        Bytes by arm, from 0 on and below `MOST_BYTES`.
    """
    drawn = {}
    for arm in arms:
        # A text as the seed, so that neither the order nor the number of the arms matters.
        stream = random.Random(f"{seed}/{process}/{arm}")
        drawn[arm] = stream.randrange(MOST_BYTES)
    return drawn


def variables(length: int | None) -> tuple[tuple[str, str], ...]:
    """Return the variable of a padding of so many bytes; none for null."""
    if length is None:
        return ()
    return ((VARIABLE, "x" * length),)
